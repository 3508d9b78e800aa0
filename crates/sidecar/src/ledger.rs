//! The ledger, as this sidecar reaches it: reports of many projects go there together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nodeweir_domain::gate::account::{Account, Ask, GRACE, Period, Report, SidecarId, Terms};
use nodeweir_domain::gate::decide::Rights;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Each, GateStore, StoreError, Written};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::{Clock, Now};
use crate::metrics::{CallOutcome, Metrics};
use crate::purses::{Trade, Turn, Which};

/// How often lost races for rows of the ledger are tried again at once.
const RACES: usize = 8;

/// How long one call of the ledger may take. Requests do not wait so long for it; but a store that is only slow shall not
/// keep leases from being renewed, and two calls are well within a lease.
const CALL: Duration = Duration::from_secs(8);

/// Accounts whose leases are written off at a time.
const LAPSED: u32 = 100;

/// One report, and what it needs to be settled.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) project: ProjectId,
    pub(crate) period: Period,
    pub(crate) rights: Arc<Rights>,
    pub(crate) report: Report,
    /// Costs of the requests that wait for it.
    pub(crate) waiting: Vec<u64>,
    pub(crate) recent: u64,
    pub(crate) live: NonZeroU32,
}

/// The ledger.
pub(crate) struct Ledger<S> {
    pub(crate) store: S,
    pub(crate) sidecar: SidecarId,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// How many sidecars share it, this one included.
    live: AtomicU32,
    /// Whether it could not be reached, so that this is said once and not every second.
    is_away: AtomicBool,
}

impl<S: GateStore> Ledger<S> {
    /// That of a sidecar which knows of no other yet.
    pub(crate) fn new(store: S, sidecar: SidecarId, clock: Clock, metrics: Arc<Metrics>) -> Self {
        metrics.sidecars.set(1);
        Self { store, sidecar, clock, metrics, live: AtomicU32::new(1), is_away: AtomicBool::new(false) }
    }

    pub(crate) fn live(&self) -> NonZeroU32 {
        NonZeroU32::new(self.live.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }

    pub(crate) fn set_live(&self, live: NonZeroU32) {
        let before = self.live.swap(live.get(), Ordering::Relaxed);
        if before != live.get() {
            info!(before, now = live, "limits and credits are shared among another number of gates");
        }
        self.metrics.sidecars.set(live.get().into());
    }

    /// A new purse's share of what a project may overdraw.
    pub(crate) fn overdraft(&self, rights: &Rights) -> u64 {
        rights.rules.overdraft / u64::from(self.live().get())
    }

    pub(crate) fn trade(&self) -> Trade {
        Trade { live: self.live(), now: self.clock.now() }
    }

    /// Settles these, and whatever requests ask for meanwhile.
    pub(crate) async fn settle(self: Arc<Self>, mut turns: Vec<Turn>) {
        while !turns.is_empty() {
            let entries: Vec<&Entry> = turns.iter().flat_map(|turn| &turn.entries).collect();
            let mut answers = self.settle_all(&entries, self.clock.now()).await.into_iter();
            let now = self.clock.now();
            let payers: Vec<_> = turns
                .drain(..)
                .map(|turn| {
                    let own = answers.by_ref().take(turn.entries.len()).collect();
                    turn.settled(own, now)
                })
                .collect();
            let waiting = payers.iter().filter(|payer| payer.has_waiting());
            turns = waiting.filter_map(|payer| payer.turn(Which::Due, self.trade())).collect();
        }
    }

    async fn settle_all(&self, entries: &[&Entry], now: Now) -> Vec<Result<Terms, StoreError>> {
        let unanswered = || Err(unavailable("others were always faster"));
        let mut answers: Vec<Result<Terms, StoreError>> = entries.iter().map(|_| unanswered()).collect();
        let mut open: Vec<usize> = (0..entries.len()).collect();
        for _ in 0..RACES {
            let asked: Vec<_> =
                open.iter().map(|&index| (entries[index].project.clone(), entries[index].period)).collect();
            let found = self.in_time(asked.len(), self.store.find_accounts(&asked)).await;
            let (mut changes, mut changing) = (Vec::new(), Vec::new());
            for (index, found) in open.drain(..).zip(found) {
                let entry = entries[index];
                let seen = match found {
                    Ok(seen) => seen,
                    Err(error) => {
                        answers[index] = Err(error);
                        continue;
                    }
                };
                let granted = entry.rights.credits_per_month;
                let account =
                    seen.clone().unwrap_or_else(|| Account::open(entry.project.clone(), entry.period, granted));
                let ask = Ask { waiting: &entry.waiting, recent: entry.recent, live: entry.live };
                let (next, terms) = account.settle(&self.sidecar, &entry.report, ask, &entry.rights.rules, now.at);
                if terms.is_repeat {
                    answers[index] = Ok(terms);
                } else {
                    changes.push((seen, next));
                    changing.push((index, terms));
                }
            }
            if changes.is_empty() {
                break;
            }
            let written = self.in_time(changes.len(), self.store.put_accounts(&changes)).await;
            for ((index, terms), written) in changing.into_iter().zip(written) {
                match written {
                    Ok(Written::Done) => answers[index] = Ok(terms),
                    Ok(Written::Lost) => {
                        self.metrics.note_store("account", CallOutcome::lost);
                        open.push(index);
                    }
                    Err(error) => answers[index] = Err(error),
                }
            }
            if open.is_empty() {
                break;
            }
        }
        self.note(entries, &answers);
        answers
    }

    /// Whoever answers too late did not answer.
    async fn in_time<T>(&self, count: usize, call: impl Future<Output = Each<T>>) -> Each<T> {
        match timeout(CALL, call).await {
            Ok(each) => each,
            Err(_) => (0..count).map(|_| Err(unavailable("no answer in time"))).collect(),
        }
    }

    fn note(&self, entries: &[&Entry], answers: &[Result<Terms, StoreError>]) {
        let mut away = None;
        for (entry, answer) in entries.iter().zip(answers) {
            match answer {
                Ok(_) => self.metrics.note_store("account", CallOutcome::ok),
                Err(error) => {
                    self.metrics.note_store("account", CallOutcome::failed);
                    if matches!(error, StoreError::Unavailable { .. }) {
                        away = Some(error);
                    } else {
                        warn!(project = %entry.project, %error, "credits cannot be settled");
                    }
                }
            }
        }
        if let Some(error) = away {
            if !self.is_away.swap(true, Ordering::Relaxed) {
                warn!(%error, "credits cannot be settled; what is leased is spent meanwhile, then the overdraft");
            }
        } else if self.is_away.swap(false, Ordering::Relaxed) {
            info!("credits can be settled again");
        }
    }

    /// Writes off what dead sidecars held of projects that nobody settles any more.
    pub(crate) async fn write_off(&self) {
        let now = self.clock.now().at;
        let ended = now.checked_sub(GRACE).unwrap_or(now);
        let lapsed = match timeout(CALL, self.store.lapsed_accounts(ended, LAPSED)).await {
            Ok(Ok(lapsed)) => lapsed,
            Ok(Err(error)) => return warn!(%error, "leases of dead gates cannot be looked for; it is tried again"),
            Err(_) => return warn!("leases of dead gates are not found in time; it is tried again"),
        };
        for seen in lapsed {
            let (account, credits) = seen.clone().write_off(now);
            let Ok(written) = timeout(CALL, self.store.put_account(Some(&seen), &account)).await else {
                return warn!("a lease is not written off in time; it is tried again");
            };
            match written {
                Ok(Written::Done) => {
                    warn!(project = %seen.project, period = %seen.period, credits, "written off: a gate died with them");
                }
                // Somebody settles it after all, and has written off what is to be.
                Ok(Written::Lost) => {}
                Err(error) => return warn!(%error, "a lease cannot be written off; it is tried again"),
            }
        }
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable { place: "of credits".to_owned(), why: why.to_owned() }
}
