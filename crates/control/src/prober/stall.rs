//! Whether this program itself was too slow to see an answer: a machine that gives it little time makes every node look
//! late.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the meter looks at the clock.
const EVERY: Duration = Duration::from_millis(20);
/// Timers are only as fine as a millisecond or so.
const FINE: Duration = Duration::from_millis(5);

/// Measures, while somebody holds a [`Meter`], by how much timers come late.
#[derive(Clone, Default)]
pub(super) struct Stalls(Arc<Mutex<Weak<Meter>>>);

/// One stretch of measuring, shared by all probes that overlap.
pub(super) struct Meter(Mutex<Looks>);

struct Looks {
    last: Instant,
    /// How late the looks until then were, in all.
    late: Duration,
}

impl Stalls {
    /// The meter that runs, or a new one. It ends with its last holder, so that nothing is measured between two ticks,
    /// when a function's process is stopped for a minute.
    pub(super) fn meter(&self) -> Arc<Meter> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = running.upgrade() {
            return meter;
        }
        let meter = Arc::new(Meter(Mutex::new(Looks { last: Instant::now(), late: Duration::ZERO })));
        *running = Arc::downgrade(&meter);
        tokio::spawn(look(Arc::downgrade(&meter)));
        meter
    }
}

impl Meter {
    /// How long this program has been kept from working, in all, also by what keeps the meter from its next look.
    pub(super) fn stalled(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).late(Instant::now())
    }
}

impl Looks {
    fn late(&self, now: Instant) -> Duration {
        self.late + now.saturating_duration_since(self.last).saturating_sub(EVERY + FINE)
    }
}

async fn look(meter: Weak<Meter>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(meter) = meter.upgrade() else { return };
        let mut looks = meter.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *looks = Looks { last: now, late: looks.late(now) };
    }
}
