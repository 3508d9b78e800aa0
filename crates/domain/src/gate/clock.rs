//! Time that only has to pass.

use std::time::Duration;

/// A moment on one process's monotonic clock: nanoseconds since a beginning of its own choice. The clock goes on while
/// the process is stopped. Moments of different processes have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds from `earlier` until here; 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `time` after this one, or the last that there is.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// Whether at least `time` has passed since `earlier`.
    pub fn is_past(self, earlier: Self, time: Duration) -> bool {
        self.since(earlier) >= nanos(time)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
