//! What this gate has seen and taken of keys' buckets, which spares requests the way to the server.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nodeweir_domain::gate::clock::Nanos;
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::advance::{Advance, Errand};
use nodeweir_domain::gate::rate::{Bucket, Quota};

use super::script::{Seen, Wish};

/// By key; only of those that were asked for within about two terms.
#[derive(Debug, Default)]
pub(super) struct Advances(Mutex<HashMap<KeyId, Advance>>);

impl Advances {
    /// As [`Advance::take`] has it.
    pub(super) fn take(
        &self,
        key: KeyId,
        quota: Quota,
        n: u32,
        live: NonZeroU32,
        now: Nanos,
    ) -> Result<Bucket, Errand> {
        self.lock().get_mut(&key).map_or_else(|| Err(Errand::default()), |of| of.take(quota, n, live, now))
    }

    /// The bucket, if what is known of it is still good.
    pub(super) fn look(&self, key: KeyId, quota: Quota, now: Nanos) -> Option<Bucket> {
        self.lock().get(&key).and_then(|of| of.look(quota, now))
    }

    /// What the server answered to requests that would take something.
    pub(super) fn see(&self, answers: impl Iterator<Item = (Wish, Seen)>, now: Nanos) {
        let mut advances = self.lock();
        for (Wish { key, quota, tokens, errand }, seen) in answers {
            let Ok(n @ 1..) = u32::try_from(tokens) else { continue };
            let brought = Advance::new(quota, seen.bucket(quota, now), n, errand.ahead, now);
            advances.entry(key).and_modify(|of| of.see(brought, errand.renews)).or_insert(brought);
        }
    }

    /// Forgets what is good for nothing any more. What was not used of it.
    pub(super) fn end(&self, now: Nanos) -> Vec<(KeyId, Quota, u32)> {
        let mut rest = Vec::new();
        self.lock().retain(|key, of| {
            let ended = of.ended(now);
            rest.extend(ended.filter(|(_, left)| *left > 0).map(|(quota, left)| (*key, quota, left)));
            ended.is_none()
        });
        rest
    }

    /// Forgets all, what is held included: the server is away.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Advance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
