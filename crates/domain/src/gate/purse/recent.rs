//! How much was spent of late.

use std::time::Duration;

use crate::gate::clock::Nanos;

/// Over how long spending is summed up. A lease is at most this much of it: what a crash can lose, and what others
/// cannot have meanwhile.
pub const RECENT: Duration = Duration::from_secs(10);

/// Spending over the last [`RECENT`], to the nearest credit: exact while it is steady. Nothing counts that is older
/// than twice that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    since: Nanos,
    /// Spent since `since`.
    current: u64,
    /// Spent in the [`RECENT`] before it.
    before: u64,
}

impl Recent {
    /// Nothing was spent yet.
    pub fn new(now: Nanos) -> Self {
        Self { since: now, current: 0, before: 0 }
    }

    /// Counts what is spent now.
    pub fn add(&mut self, cost: u64, now: Nanos) {
        *self = self.at(now);
        self.current = self.current.saturating_add(cost);
    }

    /// What was spent: all of the present stretch, and of the one before as much as reaches into the last [`RECENT`].
    pub fn sum(&self, now: Nanos) -> u64 {
        let Self { since, current, before } = self.at(now);
        let length = RECENT.as_nanos();
        let share = u128::from(before) * length.saturating_sub(u128::from(now.since(since))) / length;
        current.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// With the stretch that `now` is in as the present one.
    fn at(self, now: Nanos) -> Self {
        if !now.is_past(self.since, RECENT) {
            self
        } else if now.is_past(self.since, RECENT * 2) {
            Self::new(now)
        } else {
            Self { since: self.since.plus(RECENT), current: 0, before: self.current }
        }
    }
}
