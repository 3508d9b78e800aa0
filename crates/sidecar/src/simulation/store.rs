//! The store that all gates share, with conditional writes, and the lines to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};
use nodeweir_store::{Each, GateStore, StoreError, Written};
use tokio::time::sleep;

/// What the store holds.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) project: Option<Project>,
    pub(super) key: Option<Key>,
    pub(super) accounts: BTreeMap<(ProjectId, Period), Account>,
    pub(super) beats: BTreeMap<SidecarId, Beat>,
    /// How much later than its end a lease is found.
    pub(super) lag: Duration,
}

/// How the lines to the store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Fine,
    /// Calls take seconds.
    Slow,
    /// Calls fail at once.
    Refused,
    /// Calls are not answered.
    Silent,
}

/// A write that takes effect when nobody waits for it any more.
type Late = Box<dyn FnOnce(&mut Tables) + Send>;

pub(super) struct Shared {
    pub(super) rng: fastrand::Rng,
    pub(super) tables: Tables,
    /// How all lines are, and how that of some gate is besides.
    pub(super) line: Line,
    pub(super) cut_off: BTreeMap<SidecarId, Line>,
    /// Out of a thousand calls, how many fail.
    pub(super) failing: u32,
    /// By when they arrive, in true milliseconds.
    pub(super) late: Vec<(u64, Late)>,
    /// True milliseconds since the simulation began.
    pub(super) millis: u64,
    pub(super) told: Vec<String>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    /// It takes effect later, and the caller is told that it failed.
    Late,
}

/// The store, as one gate reaches it.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) of: SidecarId,
    pub(super) shared: Arc<Mutex<Shared>>,
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable { place: "of this simulation".to_owned(), why: why.to_owned() }
}

/// What nobody here asks for.
fn absent<T>() -> Result<T, StoreError> {
    Err(unavailable("it is not simulated"))
}

impl Store {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T: Send>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (line, fate, before, after) = {
            let mut shared = self.shared();
            let line = shared.cut_off.get(&self.of).copied().unwrap_or(shared.line);
            let fails = shared.rng.u32(..1000) < shared.failing;
            let fate = if fails {
                shared.rng.choice([Fate::FailsBefore, Fate::FailsAfter, Fate::Late]).unwrap_or(Fate::FailsBefore)
            } else {
                Fate::Works
            };
            let longest = if line == Line::Slow { 5000 } else { 60 };
            let mut wait = || Duration::from_millis(shared.rng.u64(1..longest));
            let (before, after) = (wait(), wait());
            if fate != Fate::Works {
                let of = &self.of;
                let said = format!("{of}: {what}: {fate:?}");
                shared.told.push(said);
            }
            (line, fate, before, after)
        };
        match line {
            Line::Refused => return Err(unavailable("refused")),
            Line::Silent => {
                sleep(Duration::from_secs(30)).await;
                return Err(unavailable("no answer"));
            }
            Line::Fine | Line::Slow => sleep(before).await,
        }
        match fate {
            Fate::FailsBefore => return Err(unavailable("a fault before it took effect")),
            Fate::Late => {
                let mut shared = self.shared();
                let due = shared.millis + shared.rng.u64(100..40_000);
                shared.late.push((due, Box::new(move |tables| drop(work(tables)))));
                return Err(unavailable("a fault, and it may yet take effect"));
            }
            Fate::Works | Fate::FailsAfter => {}
        }
        let done = work(&mut self.shared().tables);
        sleep(after).await;
        if fate == Fate::FailsAfter { Err(unavailable("a fault after it took effect")) } else { Ok(done) }
    }
}

impl Tables {
    fn put_account(&mut self, seen: Option<&Account>, account: &Account) -> Written {
        let at = (account.project.clone(), account.period);
        if self.accounts.get(&at) != seen {
            return Written::Lost;
        }
        self.accounts.insert(at, account.clone());
        Written::Done
    }
}

/// The same for each of several.
async fn each<T: Send + Clone>(count: usize, call: impl Future<Output = Result<Vec<T>, StoreError>> + Send) -> Each<T> {
    match call.await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

impl GateStore for Store {
    async fn project(&self, _: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.call("read project", |tables| tables.project.clone()).await
    }

    async fn find_projects(&self, ids: &[ProjectId]) -> Each<Option<Project>> {
        let count = ids.len();
        each(count, self.call("read projects", move |tables| vec![tables.project.clone(); count])).await
    }

    async fn key(&self, _: &KeyDigest) -> Result<Option<Key>, StoreError> {
        self.call("read key", |tables| tables.key.clone()).await
    }

    async fn find_keys(&self, digests: &[KeyDigest]) -> Each<Option<Key>> {
        let count = digests.len();
        each(count, self.call("read keys", move |tables| vec![tables.key.clone(); count])).await
    }

    async fn account(&self, project: &ProjectId, period: Period) -> Result<Option<Account>, StoreError> {
        let at = (project.clone(), period);
        self.call("read account", move |tables| tables.accounts.get(&at).cloned()).await
    }

    async fn find_accounts(&self, of: &[(ProjectId, Period)]) -> Each<Option<Account>> {
        let asked = of.to_vec();
        let find = move |tables: &mut Tables| asked.iter().map(|at| tables.accounts.get(at).cloned()).collect();
        each(of.len(), self.call("read accounts", find)).await
    }

    async fn put_account(&self, seen: Option<&Account>, account: &Account) -> Result<Written, StoreError> {
        let (seen, account) = (seen.cloned(), account.clone());
        self.call("put account", move |tables| tables.put_account(seen.as_ref(), &account)).await
    }

    async fn put_accounts(&self, changes: &[(Option<Account>, Account)]) -> Each<Written> {
        let all = changes.to_vec();
        let put = move |tables: &mut Tables| {
            all.iter().map(|(seen, account)| tables.put_account(seen.as_ref(), account)).collect()
        };
        each(changes.len(), self.call("put accounts", put)).await
    }

    async fn lapsed_accounts(&self, ended: Timestamp, _: u32) -> Result<Vec<Account>, StoreError> {
        let find = move |tables: &mut Tables| {
            let ended = ended - tables.lag;
            let is_lapsed =
                |account: &&Account| account.leases.values().any(|lease| lease.amount > 0 && lease.until < ended);
            tables.accounts.values().filter(is_lapsed).cloned().collect()
        };
        self.call("find lapsed accounts", find).await
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let beat = beat.clone();
        self.call("beat", move |tables| drop(tables.beats.insert(beat.sidecar.clone(), beat))).await
    }

    async fn beats(&self) -> Result<Vec<Beat>, StoreError> {
        self.call("read beats", |tables| tables.beats.values().cloned().collect()).await
    }

    async fn leave(&self, sidecar: &SidecarId) -> Result<(), StoreError> {
        let sidecar = sidecar.clone();
        self.call("leave", move |tables| drop(tables.beats.remove(&sidecar))).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        absent()
    }

    async fn put_project(&self, _: Option<&Project>, _: &Project) -> Result<Written, StoreError> {
        absent()
    }

    async fn keys(&self, _: &ProjectId) -> Result<Vec<Key>, StoreError> {
        absent()
    }

    async fn put_key(&self, _: Option<&Key>, _: &Key) -> Result<Written, StoreError> {
        absent()
    }

    async fn replace_key(&self, _: &Key, _: &Key, _: &Key) -> Result<Written, StoreError> {
        absent()
    }

    async fn accounts(&self, _: &ProjectId) -> Result<Vec<Account>, StoreError> {
        absent()
    }

    async fn log_cursor(&self, _: &LogName) -> Result<Option<LogCursor>, StoreError> {
        absent()
    }

    async fn record_usage(
        &self,
        _: &LogName,
        _: Option<LogCursor>,
        _: LogCursor,
        _: &[UsageRow],
    ) -> Result<Written, StoreError> {
        absent()
    }

    async fn usage(&self, _: &ProjectId, _: Timestamp, _: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        absent()
    }

    async fn fold_usage(&self, _: Timestamp) -> Result<u64, StoreError> {
        absent()
    }

    async fn forget_usage(&self, _: Timestamp) -> Result<(), StoreError> {
        absent()
    }
}
