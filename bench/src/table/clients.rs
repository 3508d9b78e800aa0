//! Clients that go on calling at a steady rate whatever they are answered, and remember what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lanes::paced::{connect, exchange};

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// When it was answered, or given up.
    pub(super) ended: Instant,
    /// Since it was due.
    pub(super) took: Duration,
    /// What went wrong.
    pub(super) fault: Option<String>,
}

/// Runs until [`Self::end`].
pub(super) struct Clients {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<Vec<Tried>>>>,
}

impl Clients {
    /// So many kept connections that send `request` to `port`, `per_second` in all.
    pub(super) fn start(port: u16, request: &[u8], connections: u32, per_second: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let between = Duration::from_secs(1) * connections / per_second;
        let start = Instant::now();
        let client = |index: u32| {
            let (is_over, request) = (Arc::clone(&is_over), request.to_vec());
            let first = start + between * index / connections;
            thread::spawn(move || client(port, &request, first, between, &is_over))
        };
        let threads = (0..connections).map(client).collect();
        Self { is_over, threads }
    }

    /// Everything that was tried, in the order in which it ended.
    pub(super) fn end(mut self) -> anyhow::Result<Vec<Tried>> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads.drain(..) {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a client ended abnormally"))??);
        }
        all.sort_by_key(|tried| tried.ended);
        Ok(all)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn client(
    port: u16,
    request: &[u8],
    first: Instant,
    between: Duration,
    is_over: &AtomicBool,
) -> anyhow::Result<Vec<Tried>> {
    rustix::thread::set_current_timer_slack(Some(std::num::NonZeroU64::MIN))?;
    let (mut all, mut buffer, mut kept, mut due) = (Vec::new(), Vec::new(), None, first);
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut once = || {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => connect(port)?,
            };
            if exchange(&mut stream, request, &mut buffer, &[200])? {
                kept = Some(stream);
            }
            anyhow::Ok(())
        };
        let fault = once().err().map(|error| format!("{error:#}"));
        all.push(Tried { ended: Instant::now(), took: due.elapsed(), fault });
        due += between;
    }
    Ok(all)
}
