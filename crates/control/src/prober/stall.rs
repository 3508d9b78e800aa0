//! Whether this program itself was too slow to see an answer: a machine that gives it little time makes every node look
//! late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the meter looks at the clock.
const EVERY: Duration = Duration::from_millis(20);

/// Measures, while somebody holds a [`Meter`], by how much timers come late.
#[derive(Clone, Default)]
pub(super) struct Stalls(Arc<Mutex<Weak<Meter>>>);

/// One stretch of measuring, shared by all probes that overlap.
pub(super) struct Meter {
    /// In nanoseconds.
    stalled: AtomicU64,
}

impl Stalls {
    /// The meter that runs, or a new one. It ends with its last holder, so that nothing is measured between two ticks,
    /// when a function's process is stopped for a minute.
    pub(super) fn meter(&self) -> Arc<Meter> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = running.upgrade() {
            return meter;
        }
        let meter = Arc::new(Meter { stalled: AtomicU64::new(0) });
        *running = Arc::downgrade(&meter);
        tokio::spawn(measure(Arc::downgrade(&meter)));
        meter
    }
}

impl Meter {
    /// How long this program has been kept from working, in all.
    pub(super) fn stalled(&self) -> Duration {
        Duration::from_nanos(self.stalled.load(Ordering::Relaxed))
    }
}

async fn measure(meter: Weak<Meter>) {
    loop {
        let before = Instant::now();
        tokio::time::sleep(EVERY).await;
        let Some(meter) = meter.upgrade() else { return };
        // Timers are only as fine as a millisecond or so.
        let late = before.elapsed().saturating_sub(EVERY + Duration::from_millis(5));
        meter.stalled.fetch_add(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
