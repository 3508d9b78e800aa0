//! The two clocks: one that only goes forward, for limits and ages, and the one of the calendar.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::gate::clock::Nanos;

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
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        Now { since_start: self.since_start(), at: Timestamp::now() }
    }

    /// Only the one that goes forward.
    pub(crate) fn since_start(self) -> Duration {
        self.0.elapsed()
    }
}
