//! Time in the simulation: what has truly passed, and what the wall clock says about it.

use std::time::Duration;

use jiff::Timestamp;

/// The wall clock that flows and operators read, and the time that truly passes. Blocks, deployments and schedules go
/// by the latter; the former is set forward or back now and then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Seconds that truly passed since the simulation began.
    pub(crate) elapsed: u64,
    /// What the wall clock is ahead of the truth, in seconds; negative if it is behind.
    skew: i64,
}

impl Clock {
    const EPOCH: i64 = 1_700_000_000;

    pub(crate) const fn new() -> Self {
        Self { elapsed: 0, skew: 0 }
    }

    /// What the wall clock says.
    pub(crate) fn wall(self) -> Timestamp {
        Timestamp::from_second(Self::EPOCH + self.elapsed.cast_signed() + self.skew).unwrap()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.elapsed += seconds;
    }

    /// Sets the wall clock forward or back.
    pub(crate) fn jump(&mut self, seconds: i64) {
        self.skew += seconds;
    }
}

/// How far apart two readings of the wall clock are, whichever is the earlier.
pub(crate) fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.duration_since(b).unsigned_abs()
}
