//! Tokens that a gate takes before there are requests for them, of a bucket that is kept elsewhere for all gates.
//!
//! To ask elsewhere for each request costs both sides more than all the rest of a decision. So whoever asks for a busy key
//! takes along what this gate will use of its bucket within a [`TERM`], if half of the bucket is left then: nobody is
//! refused because another gate holds what it does not need. What was not used goes back.
//!
//! Nothing passes without a token. But one that was taken early has begun to come back early. Each is used within a term,
//! given back within two, or lost, as with a gate that stood still for longer; so any window of T seconds lets at most
//! `max(burst, largest batch) + per_second * (T + 2 * TERM)` through, and what comes back while a call is on its way.
//!
//! What a gate has seen of a bucket also refuses requests for so long, because others only make it emptier, but for what
//! they give back.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Bucket, PART, Quota, full, tokens};
use crate::gate::clock::Nanos;

/// For how long what was seen of a bucket, and taken of it, is good.
pub const TERM: Duration = Duration::from_millis(100);

/// What one gate knows and holds of one key's bucket.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    quota: Quota,
    /// The bucket as if what is left had not been taken.
    bucket: Bucket,
    left: u32,
    ends: Nanos,
    /// Somebody is asking for the next one.
    is_renewed: bool,
}

/// What a request has to do where the bucket is, beside taking its own tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Errand {
    /// Tokens to give back first.
    pub rest: u32,
    /// Tokens to take along, if half of the bucket is left then.
    pub ahead: u32,
    /// Whether the gate is to know by its answer what it holds; otherwise another request is on that errand.
    pub renews: bool,
}

impl Advance {
    /// A bucket just seen, of which a request then took `n` tokens if it might, and `ahead` more if half was left.
    pub fn new(quota: Quota, mut bucket: Bucket, n: u32, ahead: u32, now: Nanos) -> Self {
        let mut left = 0;
        if bucket.look(quota, n, now).is_ok() {
            bucket.take(quota, n, now);
            if bucket.missing(quota, now).saturating_add(tokens(ahead)) <= full(quota) / 2 {
                left = ahead;
            }
        }
        Self { quota, bucket, left, ends: now.plus(TERM), is_renewed: false }
    }

    /// Takes `n` tokens of what is left, if there are so many. The bucket as it was before: what it says to the request
    /// holds, also if it refuses. Otherwise the errand of this request, one of `live` gates being asked.
    pub fn take(&mut self, quota: Quota, n: u32, live: NonZeroU32, now: Nanos) -> Result<Bucket, Errand> {
        if let Some(before) = self.look(quota, now) {
            if before.look(quota, n, now).is_err() {
                return Ok(before);
            }
            if let Some(left) = self.left.checked_sub(n) {
                self.left = left;
                self.bucket.take(quota, n, now);
                return Ok(before);
            }
        }
        if std::mem::replace(&mut self.is_renewed, true) {
            return Err(Errand::default());
        }
        let per_second = u64::from(self.bucket.recent(now)) / PART;
        let in_term = u128::from(per_second) * TERM.as_nanos() / Duration::from_secs(1).as_nanos();
        let ahead = u32::try_from(in_term).unwrap_or(u32::MAX) / live;
        let rest = self.rest(now);
        self.left = 0;
        Err(Errand { rest, ahead, renews: true })
    }

    /// The bucket, if what was seen of it is still good.
    pub fn look(&self, quota: Quota, now: Nanos) -> Option<Bucket> {
        (quota == self.quota && now < self.ends).then_some(self.bucket)
    }

    /// Tokens that were taken in advance and not used yet.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// What an errand brought back.
    pub fn see(&mut self, brought: Self, renews: bool) {
        if renews {
            *self = brought;
        } else if self.left == 0 {
            *self = Self { is_renewed: self.is_renewed, ..brought };
        }
    }

    /// What is to be given back, with its quota, if this is good for nothing any more.
    pub fn ended(&self, now: Nanos) -> Option<(Quota, u32)> {
        (now >= self.ends && !self.is_renewed).then(|| (self.quota, self.rest(now)))
    }

    /// What goes back of what is left: nothing if that comes so late that the bucket may be full again without it.
    fn rest(&self, now: Nanos) -> u32 {
        if now < self.ends.plus(TERM) { self.left } else { 0 }
    }
}
