//! How fast a key may ask: GCRA, in its form of a bucket that leaks (ITU-T I.371, annex A, names both and shows that
//! they are the same).
//!
//! A bucket of `burst` tokens refills with `per_second` tokens each second; a request takes one token per member. A
//! batch of n passes if n tokens are there **or the bucket is full**, and takes n, if need be as debt: client libraries
//! send batches of 100 by themselves, and a batch larger than the bucket would otherwise never pass. So in any window
//! of T seconds a key gets at most `max(burst, largest batch) + per_second * T` through; with single requests and a
//! bucket of twice the rate that is 3R in a first second.
//!
//! Called for each request that has a key, after its restrictions and before its credits. First [`Bucket::look`]; when
//! all else allows the request too, [`Bucket::take`].

pub mod advance;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::gate::clock::Nanos;

/// The parts of a token, so that a nanosecond at R tokens per second refills exactly R of them and nothing is rounded.
const TOKEN: u64 = 1_000_000_000;

/// The parts of a token in [`Bucket::recent`]: its error stays below half a percent, and 16 million tokens fit.
const PART: u64 = 256;

/// Never tell a client to wait longer, in seconds: hardhat gives up above 5. In deeper debt it is told 5 again.
pub const LONGEST_WAIT: u8 = 5;

/// How fast a key may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Tokens that come back each second.
    pub per_second: NonZeroU32,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
}

impl Quota {
    /// The quota of a tier: its rate, and twice that as burst.
    pub fn of(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_add(per_second.get()) }
    }

    /// What `calls` take of the bucket of one of `live` sidecars.
    ///
    /// Each sidecar has a bucket of the whole size, from which a call takes as many tokens as there are sidecars. So each
    /// admits an equal share of rate and burst, nothing is lost by rounding, a change of their number needs no change of
    /// buckets, and clients are told what all have left if the others are asked as much. No share is below one call per
    /// second.
    pub fn tokens(self, calls: u32, live: NonZeroU32) -> u32 {
        calls.saturating_mul(live.min(self.per_second).get())
    }
}

/// What is left of a quota, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Requests per second.
    pub limit: u32,
    /// How many more would pass now; never more than `limit`, although the bucket may hold more.
    pub remaining: u32,
    /// Until the bucket is full.
    pub reset_after: Duration,
    /// Tokens in a full bucket.
    pub burst: u32,
}

/// Why a request has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Whole seconds, 1 to [`LONGEST_WAIT`]. Unless that cut it off, the same request then passes if nobody else takes.
    pub retry_after: u8,
    /// What the last second would have come to with this request.
    pub current_rps: u32,
    /// Requests per second.
    pub allowed_rps: u32,
    /// What is left.
    pub level: Level,
}

/// What one key has taken. 24 bytes, because there may be one for each of 100,000 keys. The default is a full bucket.
///
/// When a quota changes, the time until the bucket is full stays as it was. A clock that goes backwards stands still
/// until it has caught up, so it never refills the same second twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Billionths of a token that were missing at `at`; more than the bucket holds if it is in debt.
    missing: u64,
    at: Nanos,
    /// The rate at which it refills since then; none if nothing was ever taken.
    rate: Option<NonZeroU32>,
    /// Tokens taken of late, in [`PART`]s, fading over a second: at a steady rate it equals that rate.
    recent: u32,
}

impl Bucket {
    /// A bucket that somebody else keeps, by another clock, who says now how many millionths of a token are missing,
    /// how many 256ths were taken of late, and how long its clock stands still because it went backwards.
    pub fn seen(quota: Quota, missing_millionths: u64, recent: u32, behind: Duration, now: Nanos) -> Self {
        let missing = missing_millionths.saturating_mul(TOKEN / 1_000_000);
        Self { missing, at: now.plus(behind), rate: Some(quota.per_second), recent }
    }

    /// Whether a request of `n` members may pass; changes nothing. The level is without it.
    pub fn look(&self, quota: Quota, n: u32, now: Nanos) -> Result<Level, Limited> {
        let missing = self.missing(quota, now);
        let level = self.level(quota, missing, now);
        let full = full(quota);
        let wanted = tokens(n);
        if n == 0 || missing == 0 || missing.saturating_add(wanted) <= full {
            return Ok(level);
        }
        // What may be missing when it passes: a batch larger than the bucket passes when nothing is.
        let over = missing - full.saturating_sub(wanted);
        let wait = self.until(over, quota, now).div_ceil(TOKEN);
        let retry_after = u8::try_from(wait).unwrap_or(u8::MAX).clamp(1, LONGEST_WAIT);
        let current = u64::from(self.recent(now)).div_ceil(PART).saturating_add(n.into());
        Err(Limited {
            retry_after,
            current_rps: u32::try_from(current).unwrap_or(u32::MAX),
            allowed_rps: quota.per_second.get(),
            level,
        })
    }

    /// Takes `n` tokens, as debt if they are not there: whether they may be taken is what [`Self::look`] said. The
    /// level is what remains.
    pub fn take(&mut self, quota: Quota, n: u32, now: Nanos) -> Level {
        let missing = self.missing(quota, now).saturating_add(tokens(n));
        let recent = u64::from(self.recent(now)).saturating_add(u64::from(n).saturating_mul(PART));
        *self = Self {
            missing,
            at: self.at.max(now),
            rate: Some(quota.per_second),
            recent: u32::try_from(recent).unwrap_or(u32::MAX),
        };
        self.level(quota, missing, now)
    }

    /// Whether the bucket is full and nothing was taken for a second: then it answers like a new one, whatever the
    /// quota, and need not be kept.
    pub fn is_idle(&self, now: Nanos) -> bool {
        let rate = self.rate.map_or(0, |rate| u64::from(rate.get()));
        let passed = now.since(self.at);
        self.missing <= rate.saturating_mul(passed) && (self.recent == 0 || passed >= TOKEN)
    }

    /// Billionths of a token that are missing now.
    fn missing(&self, quota: Quota, now: Nanos) -> u64 {
        let rate = self.rate.unwrap_or(quota.per_second);
        let refilled = u64::from(rate.get()).saturating_mul(now.since(self.at));
        let missing = self.missing.saturating_sub(refilled);
        if rate == quota.per_second {
            return missing;
        }
        let rescaled = (u128::from(missing) * u128::from(quota.per_second.get())).div_ceil(u128::from(rate.get()));
        u64::try_from(rescaled).unwrap_or(u64::MAX)
    }

    /// Nanoseconds until `missing` have come back, which begins only when a clock that went backwards has caught up.
    fn until(&self, missing: u64, quota: Quota, now: Nanos) -> u64 {
        missing.div_ceil(u64::from(quota.per_second.get())).saturating_add(self.at.since(now))
    }

    fn level(&self, quota: Quota, missing: u64, now: Nanos) -> Level {
        let limit = quota.per_second.get();
        let tokens = full(quota).saturating_sub(missing) / TOKEN;
        let reset = if missing == 0 { 0 } else { self.until(missing, quota, now) };
        Level {
            limit,
            remaining: u32::try_from(tokens).unwrap_or(u32::MAX).min(limit),
            reset_after: Duration::from_nanos(reset),
            burst: quota.burst.get(),
        }
    }

    /// [`Self::recent`] faded until now.
    fn recent(&self, now: Nanos) -> u32 {
        let rest = TOKEN.saturating_sub(now.since(self.at));
        // Below 2^32 * 10^9, and never more than it was; rounded to the nearest.
        let faded = (u64::from(self.recent) * rest + TOKEN / 2) / TOKEN;
        u32::try_from(faded).unwrap_or(u32::MAX)
    }
}

fn full(quota: Quota) -> u64 {
    tokens(quota.burst.get())
}

/// `n` tokens in billionths; always fits, 2^32 * 10^9 being below 2^62.
fn tokens(n: u32) -> u64 {
    u64::from(n) * TOKEN
}
