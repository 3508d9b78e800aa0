//! What projects may spend here, and how that is settled with the ledger.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Ask, GRACE, Period, Report, SidecarId, Terms};
use nodeweir_domain::gate::decide::Rights;
use nodeweir_domain::gate::purse::{Purse, Standing};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{GateStore, StoreError, Written};
use tokio::time::timeout;
use tracing::warn;

use crate::clock::{Clock, Now};
use crate::keys::PATIENCE;
use crate::metrics::{CallOutcome, Metrics};

/// How often lost races for a row of the ledger are tried again at once.
const RACES: usize = 8;

/// Accounts whose leases are written off at a time.
const LAPSED: u32 = 100;

/// How many sidecars share one ledger: on one machine there is one.
const LIVE: NonZeroU32 = NonZeroU32::MIN;

/// A project as its sidecar knows it.
#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) id: ProjectId,
    held: Mutex<Held>,
    /// Whoever settles has it, so that nobody does so at the same time.
    settling: tokio::sync::Mutex<()>,
    /// Costs of requests that wait for a settling.
    waiting: Mutex<Vec<u64>>,
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

impl Payer {
    pub(crate) fn new(id: ProjectId) -> Self {
        Self { id, held: Mutex::default(), settling: tokio::sync::Mutex::default(), waiting: Mutex::default() }
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

    /// Does something with this month's purse.
    pub(crate) fn with_purse<T>(&self, rights: &Rights, now: Now, work: impl FnOnce(&mut Purse) -> T) -> T {
        let mut held = self.held();
        if held.purse.is_none() || now.at >= held.ends {
            let period = Period::of(now.at);
            held.ends = period.ends();
            let new = Purse::new(rights.rules.overdraft / u64::from(LIVE.get()), now.nanos());
            if let Some((ended, mut purse)) = held.purse.replace((period, new)) {
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

    /// Gives back what a request cost that no node answered. True if it was booked: false if its month is not the
    /// running one.
    pub(crate) fn refund(&self, period: Period, credits: u64, rights: &Rights, now: Now) -> bool {
        let is_running = period == Period::of(now.at);
        if is_running {
            self.with_purse(rights, now, |purse| purse.refund(credits));
        }
        is_running
    }

    /// Waits until the ledger was asked for at least `cost`, for as long as the request that came at `begun` has.
    pub(crate) async fn top_up<S: GateStore>(&self, ledger: &Ledger<S>, rights: &Rights, cost: u64, begun: Now) {
        self.waiting().push(cost);
        let waited = ledger.clock.since_start().saturating_sub(begun.since_start);
        let settled = timeout(PATIENCE.saturating_sub(waited), async {
            let _turn = self.settling.lock().await;
            let now = ledger.clock.now();
            // Whoever settled before may have asked for this request too.
            if self.with_purse(rights, now, |purse| purse.look(cost, now.nanos())) == Standing::TopUp {
                let waiting = std::mem::take(&mut *self.waiting());
                self.settle_current(ledger, rights, &waiting, now).await;
            } else {
                let mut waiting = self.waiting();
                if let Some(own) = waiting.iter().position(|other| *other == cost) {
                    waiting.swap_remove(own);
                }
            }
        });
        if settled.await.is_err() {
            let now = ledger.clock.now();
            self.with_purse(rights, now, |purse| purse.unreachable(now.nanos()));
        }
    }

    /// Settles what needs it. Told to `give_back`, it leaves nothing here.
    pub(crate) async fn settle<S: GateStore>(&self, ledger: &Ledger<S>, give_back: bool) {
        let Ok(_turn) = self.settling.try_lock() else { return };
        let now = ledger.clock.now();
        let (rights, due) = {
            let mut held = self.held();
            let period = Period::of(now.at);
            let has_ended = held.purse.as_ref().is_some_and(|(current, _)| *current < period);
            if (has_ended || give_back)
                && let Some((ended, mut purse)) = held.purse.take()
            {
                purse.close();
                held.closed.push((ended, purse));
            }
            let due = held.purse.as_ref().is_some_and(|(_, purse)| purse.needs_settling(now.nanos()));
            (held.rights.as_ref().map(|(rights, _)| Arc::clone(rights)), due)
        };
        // What has no rights has never had a purse.
        let Some(rights) = rights else { return };
        if due {
            self.settle_current(ledger, &rights, &[], now).await;
        }
        self.settle_closed(ledger, &rights, now).await;
    }

    async fn settle_current<S: GateStore>(&self, ledger: &Ledger<S>, rights: &Rights, waiting: &[u64], now: Now) {
        let made = {
            let mut held = self.held();
            held.purse.as_mut().map(|(period, purse)| (*period, purse.report(waiting, LIVE, now.nanos())))
        };
        let Some((period, (report, ask))) = made else { return };
        let terms = ledger.settle(&self.id, period, rights, &report, ask, now).await;
        let at = ledger.clock.now().nanos();
        let mut held = self.held();
        // The month may have ended meanwhile.
        let Held { purse: current, closed, .. } = &mut *held;
        let purses = current.iter_mut().chain(closed.iter_mut());
        for (_, purse) in purses.filter(|(of, _)| *of == period) {
            match &terms {
                Ok(terms) => purse.settled(terms, at),
                Err(_) => purse.unreachable(at),
            }
        }
    }

    /// They stay where they are meanwhile: whoever is interrupted here loses none.
    async fn settle_closed<S: GateStore>(&self, ledger: &Ledger<S>, rights: &Rights, now: Now) {
        // While one settles, others only add behind.
        let count = self.held().closed.len();
        for index in 0..count {
            let made = self.held().closed.get_mut(index).and_then(|(period, purse)| {
                purse.needs_settling(now.nanos()).then(|| (*period, purse.report(&[], LIVE, now.nanos())))
            });
            let Some((period, (report, ask))) = made else { continue };
            let terms = ledger.settle(&self.id, period, rights, &report, ask, now).await;
            let at = ledger.clock.now().nanos();
            if let Some((_, purse)) = self.held().closed.get_mut(index) {
                match &terms {
                    Ok(terms) => purse.settled(terms, at),
                    Err(_) => purse.unreachable(at),
                }
            }
        }
        self.held().closed.retain(|(_, purse)| !purse.is_settled());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger, as this sidecar reaches it.
pub(crate) struct Ledger<S> {
    pub(crate) store: S,
    pub(crate) sidecar: SidecarId,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S: GateStore> Ledger<S> {
    /// Writes off what dead sidecars held of projects that nobody settles any more.
    pub(crate) async fn write_off(&self) {
        let now = self.clock.now().at;
        let ended = now.checked_sub(GRACE).unwrap_or(now);
        let lapsed = match timeout(PATIENCE, self.store.lapsed_accounts(ended, LAPSED)).await {
            Ok(Ok(lapsed)) => lapsed,
            Ok(Err(error)) => return warn!(%error, "leases of dead gates cannot be looked for; it is tried again"),
            Err(_) => return warn!("leases of dead gates are not found in time; it is tried again"),
        };
        for seen in lapsed {
            let (account, credits) = seen.clone().write_off(now);
            let Ok(written) = timeout(PATIENCE, self.store.put_account(Some(&seen), &account)).await else {
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

    async fn settle(
        &self,
        project: &ProjectId,
        period: Period,
        rights: &Rights,
        report: &Report,
        ask: Ask<'_>,
        now: Now,
    ) -> Result<Terms, StoreError> {
        let settled = timeout(PATIENCE, async {
            for _ in 0..RACES {
                let seen = self.store.account(project, period).await?;
                let account =
                    seen.clone().unwrap_or_else(|| Account::open(project.clone(), period, rights.credits_per_month));
                let (next, terms) = account.settle(&self.sidecar, report, ask, &rights.rules, now.at);
                if terms.is_repeat {
                    return Ok(terms);
                }
                match self.store.put_account(seen.as_ref(), &next).await? {
                    Written::Done => return Ok(terms),
                    Written::Lost => self.metrics.note_store("account", CallOutcome::lost),
                }
            }
            Err(StoreError::Unavailable { place: "of credits".to_owned(), why: "others were always faster".to_owned() })
        });
        let settled = settled.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { place: "of credits".to_owned(), why: "no answer in time".to_owned() })
        });
        match &settled {
            Ok(_) => self.metrics.note_store("account", CallOutcome::ok),
            Err(error) => {
                self.metrics.note_store("account", CallOutcome::failed);
                warn!(%project, %error, "credits cannot be settled");
            }
        }
        settled
    }
}
