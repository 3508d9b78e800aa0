//! One request before who counts rates for all gates.

use std::num::NonZeroU32;
use std::time::Duration;

use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::{Bucket, Quota};

use super::Shared;
use crate::clock::Now;

/// What a request took stays its own while it waits for credits, and is given back unless it passes.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    key: KeyId,
    quota: Quota,
    calls: u32,
    live: NonZeroU32,
    /// How long it waits from here on.
    pub(crate) patience: Duration,
    taken: Option<Bucket>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared, key: KeyId, quota: Quota, calls: u32, live: NonZeroU32) -> Self {
        Self { shared, key, quota, calls, live, patience: shared.patience, taken: None }
    }

    /// The bucket before this request and the moment at which it is to be looked at. If it `takes`, its tokens are taken,
    /// once, if the bucket says so at that moment. Nothing if the server is away or late.
    pub(crate) async fn ask(&mut self, takes: bool) -> Option<(Bucket, Now)> {
        let begun = self.shared.clock.now();
        if let Some(bucket) = self.taken {
            // What may be taken at one moment may be taken at each later one.
            return Some((bucket, begun));
        }
        let (bucket, now) = if takes {
            self.shared.take(self.key, self.quota, self.calls, self.live, self.patience).await?
        } else {
            self.shared.look(self.key, self.quota, self.patience).await?
        };
        self.patience = self.patience.saturating_sub(now.since_start.saturating_sub(begun.since_start));
        if takes && bucket.look(self.quota, self.calls, now.nanos()).is_ok() {
            self.taken = Some(bucket);
        }
        Some((bucket, now))
    }

    /// Whether its tokens are taken.
    pub(crate) fn has_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// The request passes: nothing is given back.
    pub(crate) fn pass(&mut self) {
        self.taken = None;
    }
}

impl Drop for Turn<'_> {
    /// Also where its client has gone while it waited.
    fn drop(&mut self) {
        if self.taken.is_some() {
            self.shared.give_back(self.key, self.quota, self.calls);
        }
    }
}
