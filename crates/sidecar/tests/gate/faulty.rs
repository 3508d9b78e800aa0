//! A store that fails or waits when it is told to, and counts what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{Each, GateStore, StoreError, Written};

#[derive(Debug, Default)]
struct Orders {
    fails: AtomicBool,
    slow_ms: AtomicU64,
    keys: AtomicU64,
}

/// The embedded store, behind a line that may be cut.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    pub(crate) inner: SqliteStore,
    orders: Arc<Orders>,
}

impl Faulty {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self { inner, orders: Arc::default() }
    }

    /// From here on every call fails, or none.
    pub(crate) fn fails(&self, fails: bool) {
        self.orders.fails.store(fails, Ordering::SeqCst);
    }

    /// From here on every call takes so long, and so do those on their way.
    pub(crate) fn is_slow(&self, by: Duration) {
        self.orders.slow_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// How often a key was looked up.
    pub(crate) fn looked_up(&self) -> u64 {
        self.orders.keys.load(Ordering::SeqCst)
    }

    async fn pass(&self) -> Result<(), StoreError> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(self.orders.slow_ms.load(Ordering::SeqCst)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.orders.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { place: "of this test".to_owned(), why: "told to fail".to_owned() });
        }
        Ok(())
    }
}

/// Each method that tells of many lets its call pass, or fails all.
macro_rules! forward_each {
    ($($name:ident($argument:ident: $type:ty) -> $answer:ty;)*) => {
        $(async fn $name(&self, $argument: $type) -> Each<$answer> {
            if stringify!($name) == "find_keys" {
                self.orders.keys.fetch_add(1, Ordering::SeqCst);
            }
            match self.pass().await {
                Ok(()) => self.inner.$name($argument).await,
                Err(error) => $argument.iter().map(|_| Err(error.clone())).collect(),
            }
        })*
    };
}

/// Each method lets its call pass, or not.
macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl GateStore for Faulty {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                if stringify!($name) == "key" {
                    self.orders.keys.fetch_add(1, Ordering::SeqCst);
                }
                self.pass().await?;
                self.inner.$name($($argument),*).await
            })*
            forward_each! {
                find_projects(ids: &[ProjectId]) -> Option<Project>;
                find_keys(digests: &[KeyDigest]) -> Option<Key>;
                find_accounts(of: &[(ProjectId, Period)]) -> Option<Account>;
                put_accounts(changes: &[(Option<Account>, Account)]) -> Written;
            }
        }
    };
}

forward! {
    project(id: &ProjectId) -> Option<Project>;
    projects() -> Vec<Project>;
    put_project(seen: Option<&Project>, project: &Project) -> Written;
    key(digest: &KeyDigest) -> Option<Key>;
    keys(project: &ProjectId) -> Vec<Key>;
    put_key(seen: Option<&Key>, key: &Key) -> Written;
    replace_key(seen: &Key, old: &Key, new: &Key) -> Written;
    account(project: &ProjectId, period: Period) -> Option<Account>;
    put_account(seen: Option<&Account>, account: &Account) -> Written;
    accounts(project: &ProjectId) -> Vec<Account>;
    lapsed_accounts(ended: Timestamp, most: u32) -> Vec<Account>;
    log_cursor(log: &LogName) -> Option<LogCursor>;
    record_usage(log: &LogName, seen: Option<LogCursor>, now: LogCursor, rows: &[UsageRow]) -> Written;
    usage(project: &ProjectId, from: Timestamp, to: Timestamp) -> Vec<UsageRow>;
    fold_usage(before: Timestamp) -> u64;
    forget_usage(before: Timestamp) -> ();
    beat(beat: &Beat) -> ();
    beats() -> Vec<Beat>;
    leave(sidecar: &SidecarId) -> ();
}

impl Faulty {
    /// A project's account of this month, past all orders.
    pub(crate) async fn inner_account(&self, project: &str) -> Account {
        let period = Period::of(Timestamp::now());
        self.inner.account(&project.parse().unwrap(), period).await.unwrap().unwrap()
    }
}
