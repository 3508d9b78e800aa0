//! What projects may spend here.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Ask, Period, Report, Terms};
use nodeweir_domain::gate::decide::Rights;
use nodeweir_domain::gate::purse::{Purse, Standing};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{GateStore, StoreError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::Now;
use crate::keys::PATIENCE;
use crate::ledger::{Entry, Ledger};

/// A project as its sidecar knows it.
#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) id: ProjectId,
    held: Mutex<Held>,
    /// Whether somebody settles, so that nobody does so at the same time.
    is_settling: AtomicBool,
    waiting: Mutex<Vec<Waiting>>,
    /// Credits for requests that waited, and have not taken them yet.
    promised: AtomicU64,
}

/// A request that waits for a settling.
#[derive(Debug)]
struct Waiting {
    cost: u64,
    settled: oneshot::Sender<Promise>,
}

/// Leave to take credits before those who came later. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    payer: Arc<Payer>,
    cost: u64,
}

impl Promise {
    fn new(payer: &Arc<Payer>, cost: u64) -> Self {
        payer.promised.fetch_add(cost, Ordering::AcqRel);
        Self { payer: Arc::clone(payer), cost }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.payer.promised.fetch_sub(self.cost, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct Held {
    /// What the project may, and when that was read.
    rights: Option<(Arc<Rights>, Duration)>,
    /// This month's.
    purse: Option<(Period, Purse)>,
    /// When its month ends, so that no request has to look it up in the calendar.
    ends: Timestamp,
    /// Those of months that have ended, until all is settled.
    closed: Vec<(Period, Purse)>,
}

/// Which purses are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that need it.
    Due,
    /// Those too that will soon, because others are settled.
    Soon,
    /// All, and nothing is held here afterwards.
    All,
}

impl Payer {
    pub(crate) fn new(id: ProjectId) -> Self {
        let (held, is_settling, waiting) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        Self { id, held, is_settling, waiting, promised: AtomicU64::new(0) }
    }

    /// What the project may, if it was read within `fresh`.
    pub(crate) fn rights(&self, now: Now, fresh: Duration) -> Option<Arc<Rights>> {
        let held = self.held();
        let (rights, read) = held.rights.as_ref()?;
        (now.since_start.saturating_sub(*read) < fresh).then(|| Arc::clone(rights))
    }

    /// Keeps what was read. What did not change stays shared.
    pub(crate) fn set_rights(&self, rights: Rights, now: Now) -> Arc<Rights> {
        let mut held = self.held();
        let rights = match &held.rights {
            Some((before, _)) if **before == rights => Arc::clone(before),
            _ => Arc::new(rights),
        };
        held.rights = Some((Arc::clone(&rights), now.since_start));
        rights
    }

    /// Whether it holds nothing and owes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        let held = self.held();
        held.closed.is_empty() && held.purse.as_ref().is_none_or(|(_, purse)| purse.is_settled())
    }

    /// Does something with this month's purse, which gets `overdraft` if it is a new one.
    pub(crate) fn with_purse<T>(&self, overdraft: u64, now: Now, work: impl FnOnce(&mut Purse) -> T) -> T {
        let mut held = self.held();
        if held.purse.is_none() || now.at >= held.ends {
            let period = Period::of(now.at);
            held.ends = period.ends();
            if let Some((ended, mut purse)) = held.purse.replace((period, Purse::new(overdraft, now.nanos()))) {
                purse.close();
                held.closed.push((ended, purse));
            }
        }
        match &mut held.purse {
            Some((_, purse)) => work(purse),
            // It has just been put there.
            None => work(&mut Purse::new(0, now.nanos())),
        }
    }

    /// Whether a request that comes now must wait behind others, for whom there is not enough besides.
    pub(crate) fn is_promised(&self, purse: &Purse, cost: u64, now: Now) -> bool {
        let promised = self.promised.load(Ordering::Acquire);
        promised > 0 && purse.look(cost.saturating_add(promised), now.nanos()) == Standing::TopUp
    }

    /// Waits until the ledger was asked for at least `cost`, for as long as the request that came at `begun` has. What it
    /// returns is to be held until the request has looked again.
    pub(crate) async fn top_up<S: GateStore + 'static>(
        self: &Arc<Self>,
        ledger: &Arc<Ledger<S>>,
        cost: u64,
        begun: Now,
    ) -> Option<Promise> {
        let (settled, told) = oneshot::channel();
        self.waiting().push(Waiting { cost, settled });
        // Whoever settles already does so once more for those who came meanwhile.
        if let Some(turn) = self.turn(Which::Due, ledger.trade()) {
            tokio::spawn(Arc::clone(ledger).settle(vec![turn]));
        }
        let waited = ledger.clock.since_start().saturating_sub(begun.since_start);
        let told = timeout(PATIENCE.saturating_sub(waited), told).await;
        if told.is_err() {
            let now = ledger.clock.now().nanos();
            if let Some((_, purse)) = &mut self.held().purse {
                purse.unreachable(now);
            }
        }
        told.ok()?.ok()
    }

    /// Whether it is time to settle.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        let held = self.held();
        let purse = held.purse.as_ref();
        purse.is_some_and(|(period, purse)| *period < Period::of(now.at) || purse.needs_settling(now.nanos()))
            || held.closed.iter().any(|(_, purse)| purse.needs_settling(now.nanos()))
            || !self.waiting().is_empty()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// What of it is to be settled now, unless somebody does so already.
    pub(crate) fn turn(self: &Arc<Self>, which: Which, trade: Trade) -> Option<Turn> {
        if self.is_settling.swap(true, Ordering::AcqRel) {
            return None;
        }
        let Trade { live, now } = trade;
        // Whatever becomes of it from here on, it leaves the project free for the next one.
        let mut turn = Turn { payer: Arc::clone(self), waiting: Vec::new(), entries: Vec::new() };
        let waiting = std::mem::take(&mut *self.waiting());
        let mut held = self.held();
        let has_ended = held.purse.as_ref().is_some_and(|(period, _)| *period < Period::of(now.at));
        if (has_ended || which == Which::All)
            && let Some((ended, mut purse)) = held.purse.take()
        {
            purse.close();
            held.closed.push((ended, purse));
        }
        // What has no rights has never had a purse.
        let (rights, _) = held.rights.as_ref()?;
        let rights = Arc::clone(rights);
        let Held { purse, closed, .. } = &mut *held;
        let at = now.nanos();
        if let Some((period, purse)) = purse {
            // Whoever settled before may have asked for some of these too, and others have given up.
            let promised = self.promised.load(Ordering::Acquire);
            let mut served = promised;
            let mut is_open = |waiting: &Waiting| {
                let sum = served.saturating_add(waiting.cost);
                let is_enough = purse.look(sum, at) == Standing::Enough;
                if is_enough {
                    served = sum;
                }
                let has_answer =
                    is_enough || !matches!(purse.look(waiting.cost, at), Standing::TopUp | Standing::Enough);
                !waiting.settled.is_closed() && !has_answer
            };
            turn.waiting = waiting.into_iter().filter(&mut is_open).collect();
            let is_time = if which == Which::Due { purse.needs_settling(at) } else { purse.may_settle(at) };
            if is_time || !turn.waiting.is_empty() {
                let promises = Some(promised).filter(|promised| *promised > 0);
                let costs: Vec<u64> = promises.into_iter().chain(turn.waiting.iter().map(|one| one.cost)).collect();
                let (report, ask) = purse.report(&costs, promised, live, at);
                turn.entries.push(Entry::new(&self.id, *period, &rights, report, ask));
            }
        }
        for (period, purse) in closed.iter_mut().filter(|(_, purse)| purse.needs_settling(at)) {
            let (report, ask) = purse.report(&[], 0, live, at);
            turn.entries.push(Entry::new(&self.id, *period, &rights, report, ask));
        }
        drop(held);
        (!turn.entries.is_empty()).then_some(turn)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every settling needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trade {
    /// How many sidecars share the ledger.
    pub(crate) live: NonZeroU32,
    pub(crate) now: Now,
}

/// Reports of one project on their way to the ledger. While it is there, nobody else settles the project; when it goes,
/// whoever waited for it looks again.
#[derive(Debug)]
pub(crate) struct Turn {
    payer: Arc<Payer>,
    waiting: Vec<Waiting>,
    pub(crate) entries: Vec<Entry>,
}

impl Turn {
    /// Hands the answers to its purses, in the order of its entries, and says whose turn it was.
    pub(crate) fn settled(mut self, answers: Vec<Result<Terms, StoreError>>, now: Now) -> Arc<Payer> {
        let at = now.nanos();
        {
            let mut held = self.payer.held();
            // A month may have ended meanwhile.
            let Held { purse: current, closed, .. } = &mut *held;
            for (entry, answer) in self.entries.iter().zip(answers) {
                let purses = current.iter_mut().chain(closed.iter_mut());
                for (_, purse) in purses.filter(|(period, _)| *period == entry.period) {
                    match &answer {
                        Ok(terms) => purse.settled(terms, at),
                        Err(_) => purse.unreachable(at),
                    }
                }
            }
            closed.retain(|(_, purse)| !purse.is_settled());
        }
        for Waiting { cost, settled } in self.waiting.drain(..) {
            // It may have given up; then the promise ends here.
            let _ = settled.send(Promise::new(&self.payer, cost));
        }
        Arc::clone(&self.payer)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.payer.is_settling.store(false, Ordering::Release);
    }
}

impl Entry {
    fn new(project: &ProjectId, period: Period, rights: &Arc<Rights>, report: Report, ask: Ask<'_>) -> Self {
        Self {
            project: project.clone(),
            period,
            rights: Arc::clone(rights),
            report,
            waiting: ask.waiting.to_vec(),
            recent: ask.recent,
            live: ask.live,
        }
    }
}
