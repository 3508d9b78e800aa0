//! The two clocks: one that only goes forward, for limits and ages, and the one of the calendar.

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::clock::Nanos;
// That of timers, so that a simulation sets both at once.
use tokio::time::Instant;

/// Both clocks, read together once for each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since this process started. Never goes back.
    pub(crate) since_start: Duration,
    /// What the calendar says.
    pub(crate) at: Timestamp,
}

impl Now {
    /// Nanoseconds since this process started; enough for 584 years.
    pub(crate) fn nanos(self) -> Nanos {
        Nanos(u64::try_from(self.since_start.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Reads both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    calendar: fn(Duration) -> Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), calendar: |_| Timestamp::now() }
    }

    /// One whose calendar goes by what has passed since the start.
    #[cfg(test)]
    pub(crate) fn simulated(calendar: fn(Duration) -> Timestamp) -> Self {
        Self { start: Instant::now(), calendar }
    }

    pub(crate) fn now(self) -> Now {
        let since_start = self.since_start();
        Now { since_start, at: (self.calendar)(since_start) }
    }

    /// Only the one that goes forward.
    pub(crate) fn since_start(self) -> Duration {
        self.start.elapsed()
    }
}
