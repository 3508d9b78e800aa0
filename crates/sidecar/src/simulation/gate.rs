//! One gate, in a runtime of its own: it may stand still, or be dropped, while the others go on.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::name::{ProjectId, SidecarId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::advance;

use super::store::Store;
use super::truth::Sums;
use crate::census::{self, Counting};
use crate::clock::Clock;
use crate::gate::Gate;
use crate::keys::Ages;
use crate::question::{Question, Verdict};

thread_local! {
    /// What the calendar says to the gate that is at work, in milliseconds of the epoch. They are at work one after the
    /// other, and those of other seeds in threads of their own.
    static CALENDAR: Cell<i64> = const { Cell::new(0) };
}

fn calendar(_: Duration) -> Timestamp {
    Timestamp::from_millisecond(CALENDAR.get()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How often tasks that can go on are given a turn in one step: for each call of the store it takes one or two.
const TURNS: usize = 24;

pub(super) struct Sidecar {
    pub(super) id: SidecarId,
    runtime: Runtime,
    gate: Arc<Gate<Store>>,
    end: watch::Sender<bool>,
    settling: Option<JoinHandle<()>>,
    /// Milliseconds that its calendar is ahead.
    pub(super) ahead: i64,
    pub(super) is_paused: bool,
    /// Milliseconds that passed while it stood still.
    missed: u64,
    has_left: Arc<AtomicBool>,
    /// What it passed and was not asked to give back.
    pub(super) refundable: Arc<Mutex<BTreeMap<Period, u64>>>,
}

impl Sidecar {
    pub(super) fn start(store: Store, config: Arc<Config>, at: Timestamp, ahead: i64) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (end, ending) = watch::channel(false);
        let id = store.of.clone();
        CALENDAR.set(at.as_millisecond() + ahead);
        let (gate, settling) = runtime.block_on(async {
            let clock = Clock::simulated(calendar);
            let gate = Arc::new(Gate::by_clock(config, store.clone(), store.of, Ages::SPARING, clock));
            let settling = tokio::spawn(crate::settle(Arc::clone(&gate), ending));
            tokio::spawn(crate::sweep(Arc::clone(&gate)));
            tokio::spawn(crate::write_off(Arc::clone(&gate)));
            tokio::spawn(Counting::new(Arc::clone(&gate)).go_on());
            (gate, settling)
        });
        let (missed, has_left, refundable) = (0, Arc::default(), Arc::default());
        Self { id, runtime, gate, end, settling: Some(settling), ahead, is_paused: false, missed, has_left, refundable }
    }

    /// Time passes, and what can go on does.
    pub(super) fn pass(&mut self, at: Timestamp, millis: u64) {
        self.missed += millis;
        if self.is_paused {
            return;
        }
        let passed = Duration::from_millis(std::mem::take(&mut self.missed));
        CALENDAR.set(at.as_millisecond() + self.ahead);
        self.runtime.block_on(async {
            advance(passed).await;
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
    }

    /// A request with this body comes. What it is answered is noted when it is.
    pub(super) fn request(&self, body: Arc<[u8]>, key: Arc<str>, sums: Arc<Mutex<Sums>>) {
        let (gate, refundable) = (Arc::clone(&self.gate), Arc::clone(&self.refundable));
        self.runtime.spawn(async move {
            let question = Question {
                is_websocket: false,
                network: "ethereum",
                path_key: &key,
                api_key: "",
                authorization: "",
                origin: "",
                address: "",
                body: &body,
            };
            let verdict = gate.ask(&question).await;
            sums.lock().unwrap_or_else(PoisonError::into_inner).note(&verdict);
            if let Verdict::Pass { cost, .. } = verdict {
                let mut refundable = refundable.lock().unwrap_or_else(PoisonError::into_inner);
                *refundable.entry(Period::of(gate.clock.now().at)).or_default() += cost;
            }
        });
    }

    /// Its log tells of failed requests of this month.
    pub(super) fn refund(&self, project: ProjectId, period: Period, credits: u64) {
        let gate = Arc::clone(&self.gate);
        self.runtime.spawn(async move { gate.refund(&BTreeMap::from([((project, period), credits)])).await });
    }

    /// It is told to stop: it gives back what it holds, if it can in time.
    pub(super) fn stop(&mut self) {
        let Some(settling) = self.settling.take() else { return };
        let _ = self.end.send(true);
        let (gate, has_left) = (Arc::clone(&self.gate), Arc::clone(&self.has_left));
        self.runtime.spawn(async move {
            let _ = settling.await;
            crate::give_back(&gate).await;
            census::leave(&gate).await;
            has_left.store(true, Ordering::Relaxed);
        });
    }

    /// Whether it was told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.settling.is_none()
    }

    /// Whether it was told to stop, and did.
    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }
}
