//! Clients of several tasks that go on calling.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::client::{Connection, request};
use crate::process::until;

/// What came of their calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// By status.
    pub(crate) answered: BTreeMap<u16, u64>,
    /// Those whose connection ended before an answer.
    pub(crate) broken: u64,
}

impl Counts {
    pub(crate) fn of(&self, status: u16) -> u64 {
        self.answered.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn all(&self) -> u64 {
        self.answered.values().sum()
    }

    pub(crate) fn passed(&self) -> u64 {
        self.of(200)
    }
}

/// Clients, and the time since they began.
pub(crate) struct Load {
    counts: Arc<Mutex<Counts>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    began: Instant,
}

impl Load {
    /// One client for each port that is named, with a kept connection and a pause after each answer.
    pub(crate) fn start(ports: &[u16], key: &str, pause: Duration) -> Self {
        let (counts, stop): (Arc<Mutex<Counts>>, Arc<AtomicBool>) = Default::default();
        let clients = ports.iter().map(|port| {
            tokio::spawn(client(*port, format!("/ethereum/v3/{key}"), pause, Arc::clone(&counts), Arc::clone(&stop)))
        });
        Self { clients: clients.collect(), counts, stop, began: Instant::now() }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// Waits until so many more calls passed.
    pub(crate) async fn passes(&self, more: u64) {
        let goal = self.counts().passed() + more;
        until("calls pass", async || (self.counts().passed() >= goal).then_some(())).await;
    }

    /// Goes on for this long.
    pub(crate) async fn lasts(&self, time: Duration) {
        // Not a wait for anything: it is how long it is to go on.
        tokio::time::sleep(time).await;
    }

    /// Ends them after the answers that they wait for.
    pub(crate) async fn end(self) -> (Counts, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        (self.counts.lock().unwrap().clone(), self.began.elapsed())
    }
}

async fn client(port: u16, path: String, pause: Duration, counts: Arc<Mutex<Counts>>, stop: Arc<AtomicBool>) {
    let mut connection = None;
    while !stop.load(Ordering::SeqCst) {
        if connection.is_none() {
            connection = Connection::open(port).await.ok();
        }
        let Some(open) = &mut connection else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match open.post(&path, &request("eth_blockNumber")).await {
            Ok(answer) => *counts.lock().unwrap().answered.entry(answer.status).or_default() += 1,
            Err(_) => {
                counts.lock().unwrap().broken += 1;
                connection = None;
            }
        }
        // How fast it calls, and not a wait for anything.
        tokio::time::sleep(pause).await;
    }
}
