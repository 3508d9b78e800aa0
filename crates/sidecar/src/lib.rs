//! The gate beside nginx: who may pass, and how much.
//!
//! nginx asks [`run`]'s server about each request before it passes it on, with the whole body. The decision is
//! `nodeweir_domain::gate`'s; here is what it needs: keys and projects from the store, held in memory; buckets; leases
//! of credits, settled with the ledger beside the way of requests; usage, read from nginx's access log.

mod admin;
mod census;
mod clock;
mod gate;
mod keeper;
mod keys;
mod ledger;
mod limits;
mod listen;
mod metrics;
mod named;
mod process;
mod purses;
mod question;
mod server;
#[cfg(test)]
mod simulation;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nodeweir_domain::config::{Config, LimitStore};
use nodeweir_domain::fleet::node::SecretName;
use nodeweir_domain::name::{LogName, SidecarId};
use nodeweir_store::GateStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use census::Counting;
use limits::Shared;
use listen::Listener;
use usage::Usage;

pub use gate::Gate;
pub use keeper::{Condition, Job, Keeper};
pub use keys::Ages;
pub use limits::PATIENCE;
pub use process::{Process, is_there, outlive};
pub use question::{Identity, Question, Verdict};

/// How often purses are looked at. A report is due every 5 s, and a lease that runs low must not wait for it.
const SETTLE: Duration = Duration::from_millis(200);

/// How often what is idle is forgotten.
const SWEEP: Duration = Duration::from_secs(5);

/// How often leases of dead gates are looked for.
const LAPSES: Duration = Duration::from_secs(60);

/// How often minute rows of usage are folded into days.
const FOLD: Duration = Duration::from_secs(3600);

/// How long a start waits until the other gates are counted.
const FIRST_COUNT: Duration = Duration::from_secs(2);

/// How long a stop waits for the last lines of nginx's log, which it holds back for up to a second.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// How long a stop tries to give leases back. Its supervisor waits for 10 s in all.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Where and as whom a gate runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything that a person configured.
    pub config: Arc<Config>,
    /// Where a unix socket goes. Relative to the working directory, so that a deep folder does not make it too long.
    pub socket: PathBuf,
    /// The folder of nginx's access log.
    pub log: PathBuf,
    /// This process's name towards the ledger; no other has ever had it.
    pub sidecar: SidecarId,
    /// What the access log is called in the store; the same after a restart.
    pub log_name: LogName,
    /// How long keys are held.
    pub ages: Ages,
    /// Whether other gates, on other machines, work on the same store, which is then paid by the call: limits and credits
    /// are shared with them, and usage is written once a minute.
    pub is_shared: bool,
    /// How long a request waits for who counts rates for all gates, before this one counts by itself: [`PATIENCE`].
    pub patience: Duration,
    /// What secrets are.
    pub value: fn(&SecretName) -> Option<String>,
}

/// Runs the gate until `stop` turns true; then counts the last lines of the log, finishes what has begun, and gives
/// leases back. Errs if it cannot listen.
pub async fn run<S>(settings: Settings, store: S, mut stop: watch::Receiver<bool>) -> Result<()>
where
    S: GateStore + Clone + 'static,
{
    let Settings { config, socket, log, sidecar, log_name, ages, is_shared, patience, value } = settings;
    let admin_address = config.gate.admin;
    let admin = TcpListener::bind(admin_address)
        .await
        .with_context(|| format!("cannot listen on {admin_address} (`gate.admin`); is another program there?"))?;
    let listener = Listener::bind(config.gate.listen, &socket).await.with_context(|| match config.gate.listen {
        nodeweir_domain::config::GateAddress::Socket => format!("cannot listen on the socket {}", socket.display()),
        nodeweir_domain::config::GateAddress::Tcp(address) => {
            format!("cannot listen on {address} (`gate.listen`); is another program there?")
        }
    })?;
    let mut gate = Gate::new(config, store.clone(), sidecar, ages);
    if let LimitStore::Redis(url) = &gate.config.gate.limits {
        gate.shared = Some(Shared::start(url, patience, value, Arc::clone(&gate.metrics), gate.clock).await?);
    }
    let gate = Arc::new(gate);
    let usage = Usage::new(log, log_name, is_shared).context("cannot follow the access log")?;
    let mut counting = Counting::new(Arc::clone(&gate));
    if is_shared {
        // Before the first request, or it would take the whole rate for its own. A store that is away lets nobody in anyway.
        let _ = timeout(FIRST_COUNT, counting.once()).await;
    }
    info!(listen = ?gate.config.gate.listen, admin = %admin_address, sidecar = %gate.ledger.sidecar, "the gate stands");

    let counting_gates = tokio::spawn(async move {
        if is_shared {
            counting.go_on().await;
        }
    });
    let admin = tokio::spawn(admin::serve(admin, Arc::clone(&gate.metrics), stop.clone()));
    let (end, ending) = watch::channel(false);
    let settling = tokio::spawn(settle(Arc::clone(&gate), ending));
    let sweeping = tokio::spawn(sweep(Arc::clone(&gate)));
    let writing_off = tokio::spawn(write_off(Arc::clone(&gate)));
    let counting = tokio::spawn(count(usage, store, Arc::clone(&gate), stop.clone()));
    let (close, closing) = watch::channel(false);
    let counted = async {
        stopped(&mut stop).await;
        // Refunds are in the last lines, so leases go back after them. A successor does not listen before this one has
        // ended, so whoever asks until then is answered; what that comes to, the successor counts.
        if counting.await.is_err() {
            warn!("counting usage ended abnormally");
        }
        let _ = close.send(true);
    };
    tokio::join!(server::serve(listener, Arc::clone(&gate), closing), counted);
    // What it has begun ends in order, so that its answer is not lost.
    let _ = end.send(true);
    if settling.await.is_err() {
        warn!("settling ended abnormally");
    }
    give_back(&gate).await;
    for task in [admin, sweeping, writing_off, counting_gates] {
        task.abort();
    }
    if is_shared {
        census::leave(&gate).await;
    }
    info!("the gate has stopped");
    Ok(())
}

async fn settle<S: GateStore + 'static>(gate: Arc<Gate<S>>, mut ending: watch::Receiver<bool>) {
    let mut settles = calm(SETTLE);
    loop {
        tokio::select! {
            // A store that hangs holds up the projects of this turn, and no others of the next.
            _ = settles.tick() => {
                let turns = gate.turns(false);
                if !turns.is_empty() {
                    tokio::spawn(Arc::clone(&gate.ledger).settle(turns));
                }
            }
            () = stopped(&mut ending) => return,
        }
    }
}

async fn sweep<S: GateStore + 'static>(gate: Arc<Gate<S>>) {
    let mut sweeps = calm(SWEEP);
    loop {
        sweeps.tick().await;
        gate.sweep();
    }
}

async fn write_off<S: GateStore + 'static>(gate: Arc<Gate<S>>) {
    let mut lapses = calm(LAPSES);
    loop {
        lapses.tick().await;
        gate.ledger.write_off().await;
    }
}

/// Leaves nothing leased, if the store can be reached within [`GIVE_BACK`].
async fn give_back<S: GateStore + 'static>(gate: &Gate<S>) {
    let given = timeout(GIVE_BACK, async {
        // More than once: an answer that was lost is asked for again, and what was spent since comes after it.
        loop {
            gate.settle(true).await;
            if gate.is_settled() {
                return;
            }
            tokio::time::sleep(SETTLE).await;
        }
    });
    if given.await.is_err() {
        warn!("not all leases could be given back; what is left of them is written off when they end");
    }
}

/// Ticks that do not hurry after one was late.
fn calm(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn count<S: GateStore + 'static>(
    mut usage: Usage,
    store: S,
    gate: Arc<Gate<S>>,
    mut stop: watch::Receiver<bool>,
) {
    let (mut looks, mut folds) = (calm(usage::LOOK), calm(FOLD));
    loop {
        tokio::select! {
            _ = looks.tick() => count_all(&mut usage, &store, &gate, false).await,
            _ = folds.tick() => usage::fold(&store, gate.clock.now().at).await,
            () = stopped(&mut stop) => break,
        }
    }
    tokio::time::sleep(LAST_LINES).await;
    count_all(&mut usage, &store, &gate, true).await;
}

async fn count_all<S: GateStore + 'static>(usage: &mut Usage, store: &S, gate: &Gate<S>, at_once: bool) {
    loop {
        match usage.count(store, &gate.metrics, at_once).await {
            Ok((refunds, more)) => {
                gate.refund(&refunds).await;
                if !more {
                    return;
                }
            }
            Err(error) => return warn!(%error, "usage cannot be stored; it is counted later"),
        }
    }
}

/// Waits until `stop` turns true, or whoever could say so is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
