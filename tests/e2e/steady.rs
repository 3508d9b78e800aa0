//! A machine that stands still.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

/// Runs a scenario in which somebody waits for a time that no setting makes longer, and once more if it failed while the
/// machine stood still or had no time for this process: then nobody else had that time.
pub(crate) async fn steadily(scenario: impl AsyncFn()) {
    for _ in 0..10 {
        let (began, stopwatch) = (Instant::now(), Stopwatch::start());
        let ended = AssertUnwindSafe(scenario()).catch_unwind().await;
        let lost = began.elapsed().saturating_sub(stopwatch.elapsed());
        match ended {
            Ok(()) => return,
            Err(why) if lost < Duration::from_millis(300) => resume_unwind(why),
            Err(_) => println!("this machine stood still for {lost:?}: once more"),
        }
    }
    panic!("this machine stands still all the time");
}

/// It stands still whenever the machine does.
struct Stopwatch(Arc<AtomicU64>);

impl Stopwatch {
    fn start() -> Self {
        let shown = Arc::new(AtomicU64::new(0));
        let shows = Arc::downgrade(&shown);
        std::thread::spawn(move || {
            let mut looked = Instant::now();
            while let Some(shown) = shows.upgrade() {
                std::thread::sleep(Duration::from_millis(2));
                let now = Instant::now();
                let passed = (now - looked).min(Duration::from_millis(20));
                shown.fetch_add(u64::try_from(passed.as_micros()).unwrap(), Ordering::Relaxed);
                looked = now;
            }
        });
        Self(shown)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
