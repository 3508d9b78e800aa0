//! Keys and projects that were looked up, so that the way of a request meets the store once per key and [`FRESH`].
//!
//! An entry is good for [`FRESH`]. Then it is still used while it is read anew beside the request, and from [`STALE`]
//! on the request waits for that, so a revocation is effective within `STALE` and the length of a look-up. While the
//! store is away, keys that are known go on being served, and unknown ones are told to come again (503, not 401).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::gate::decide::Rights;
use nodeweir_domain::gate::key::{Key, KeyDigest, KeyId};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{GateStore, StoreError};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use crate::clock::{Clock, Now};
use crate::metrics::{CallOutcome, Metrics};
use crate::purses::Payer;

/// How long an entry is used without another look. With a look-up per key and 10 s, 100,000 hot keys are 10,000 reads a
/// second at worst, which the embedded store does on half a core.
const FRESH: Duration = Duration::from_secs(10);

/// From this age on a request waits for the look-up. Below the 30 s within which a revocation is effective.
const STALE: Duration = Duration::from_secs(20);

/// How long it is believed that there is no such key. Short, so that a new key works soon wherever it was tried early;
/// long enough that a client that repeats a wrong key costs nothing.
const UNKNOWN: Duration = Duration::from_secs(10);

/// How long a request waits for the store. Below nginx's patience with the gate.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

/// Keys that are held. Each takes about 200 bytes.
const KEYS: usize = 200_000;

/// Keys that are known not to be there.
const UNKNOWN_KEYS: usize = 50_000;

/// Look-ups at a time: a flood of unknown keys waits for itself, and not before the look-ups of refreshed ones.
const LOOKUPS: usize = 16;

/// Look-ups that may wait; beyond, clients are told to come again.
const PLACES: usize = 1024;

/// Keys that are read anew at a time, at most.
const TURNS: usize = 64;

/// How long nobody waits for a store that has just failed, where there is an older answer.
const AWAY: Duration = Duration::from_secs(2);

/// What is kept of a key. Small, because there are many: what most keys do not have is behind one pointer.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: KeyId,
    pub(crate) payer: Arc<Payer>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) restrictions: Option<Box<Restrictions>>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) is_revoked: bool,
    /// When it was read, since this process started.
    read: Duration,
    is_being_read: AtomicBool,
}

/// What became of looking for a key.
#[derive(Debug, Clone)]
pub(crate) enum Looked {
    Known(Arc<Known>),
    Unknown,
    /// The store cannot tell now.
    Away,
}

/// Finds keys.
pub(crate) struct Keys<S> {
    store: S,
    config: Arc<Config>,
    clock: Clock,
    metrics: Arc<Metrics>,
    known: Cache<KeyDigest, Arc<Known>>,
    unknown: Cache<KeyDigest, Duration>,
    lookups: Semaphore,
    places: Semaphore,
    /// Whoever reads a key anew has the turn of its first byte.
    turns: [tokio::sync::Mutex<()>; TURNS],
    /// When the store failed last, in nanoseconds since this process started; 0 if never.
    failed: AtomicU64,
    payers: Mutex<HashMap<ProjectId, Arc<Payer>>>,
}

impl<S: GateStore + 'static> Keys<S> {
    pub(crate) fn new(store: S, config: Arc<Config>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            config,
            clock,
            metrics,
            known: Cache::new(KEYS),
            unknown: Cache::new(UNKNOWN_KEYS),
            lookups: Semaphore::new(LOOKUPS),
            places: Semaphore::new(PLACES),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            failed: AtomicU64::new(0),
            payers: Mutex::default(),
        }
    }

    /// Every project that has been asked for and is still in use.
    pub(crate) fn payers(&self) -> Vec<Arc<Payer>> {
        self.payers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A project that something is owed to, whether or not it is in use.
    pub(crate) fn payer(&self, id: &ProjectId) -> Arc<Payer> {
        let mut payers = self.payers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(payers.entry(id.clone()).or_insert_with(|| Arc::new(Payer::new(id.clone()))))
    }

    /// What a project may, read anew if it is not known.
    pub(crate) async fn rights_of(&self, payer: &Payer) -> Option<Arc<Rights>> {
        let now = self.clock.now();
        if let Some(rights) = payer.rights(now, Duration::MAX) {
            return Some(rights);
        }
        let project = timeout(PATIENCE, self.store.project(&payer.id)).await;
        let project = project.ok()?.ok()??;
        Some(payer.set_rights(Rights::of(&project, &self.config.gate), now))
    }

    /// Forgets projects that hold nothing and that no held key belongs to.
    pub(crate) fn sweep(&self) {
        let mut payers = self.payers.lock().unwrap_or_else(PoisonError::into_inner);
        payers.retain(|_, payer| Arc::strong_count(payer) > 1 || !payer.is_empty());
        self.metrics.projects.set(i64::try_from(payers.len()).unwrap_or(i64::MAX));
        drop(payers);
        self.metrics.keys.set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
    }

    /// The key with this digest.
    pub(crate) async fn find(self: &Arc<Self>, digest: KeyDigest, now: Now) -> Looked {
        let Some(known) = self.known.get(&digest) else {
            return timeout(PATIENCE, self.find_first(digest, now)).await.unwrap_or_else(|_| self.away(now));
        };
        let age = now.since_start.saturating_sub(known.read);
        if age < FRESH {
            return Looked::Known(known);
        }
        if age >= STALE && !self.is_away(now) {
            return match timeout(PATIENCE, self.find_again(digest)).await {
                Ok(Ok(looked)) => looked,
                // What is known is used as long as nobody knows better.
                Ok(Err(_)) => Looked::Known(known),
                Err(_) => {
                    self.away(now);
                    Looked::Known(known)
                }
            };
        }
        if !known.is_being_read.swap(true, Ordering::AcqRel) {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.read(digest).await });
        }
        Looked::Known(known)
    }

    /// Whether the store failed so recently that waiting for it again would only make requests slow.
    fn is_away(&self, now: Now) -> bool {
        let failed = Duration::from_nanos(self.failed.load(Ordering::Acquire));
        failed > Duration::ZERO && now.since_start.saturating_sub(failed) < AWAY
    }

    fn away(&self, now: Now) -> Looked {
        self.failed.store(now.nanos().0.max(1), Ordering::Release);
        Looked::Away
    }

    async fn find_first(&self, digest: KeyDigest, now: Now) -> Looked {
        if self.is_unknown(&digest, now) {
            return Looked::Unknown;
        }
        match self.known.get_value_or_guard_async(&digest).await {
            Ok(known) => Looked::Known(known),
            // Who waited for somebody else's look-up need not repeat it.
            Err(_guard) if self.is_unknown(&digest, self.clock.now()) => Looked::Unknown,
            Err(guard) => match self.look_up(digest).await {
                Ok(Some(known)) => {
                    let _ = guard.insert(Arc::clone(&known));
                    Looked::Known(known)
                }
                Ok(None) => Looked::Unknown,
                Err(_) => Looked::Away,
            },
        }
    }

    /// Reads a key that is held too long anew, once for all who wait for it.
    async fn find_again(&self, digest: KeyDigest) -> Result<Looked, StoreError> {
        let _turn = self.turns[usize::from(digest.0[0]) % TURNS].lock().await;
        match self.known.get(&digest) {
            Some(known) if self.clock.now().since_start.saturating_sub(known.read) < FRESH => Ok(Looked::Known(known)),
            _ => self.read(digest).await,
        }
    }

    fn is_unknown(&self, digest: &KeyDigest, now: Now) -> bool {
        self.unknown.get(digest).is_some_and(|since| now.since_start.saturating_sub(since) < UNKNOWN)
    }

    /// Reads a key that is held anew.
    async fn read(&self, digest: KeyDigest) -> Result<Looked, StoreError> {
        let read = self.look_up(digest).await;
        match &read {
            Ok(Some(known)) => self.known.insert(digest, Arc::clone(known)),
            Ok(None) => drop(self.known.remove(&digest)),
            Err(_) => {
                if let Some(known) = self.known.get(&digest) {
                    known.is_being_read.store(false, Ordering::Release);
                }
            }
        }
        read.map(|known| known.map_or(Looked::Unknown, Looked::Known))
    }

    async fn look_up(&self, digest: KeyDigest) -> Result<Option<Arc<Known>>, StoreError> {
        let away = |why: &str| StoreError::Unavailable { place: "of keys".to_owned(), why: why.to_owned() };
        let _turn = match self.lookups.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                // Each who waits is bounded by its own patience; this bounds how many a flood may leave waiting.
                let _place = self.places.try_acquire().map_err(|_| away("too many look-ups at once"))?;
                self.lookups.acquire().await.map_err(|_| away("it is being closed"))?
            }
        };
        let read = self.read_both(digest).await;
        match &read {
            Ok(Some(_)) => self.metrics.note_store("key", CallOutcome::ok),
            Ok(None) => {
                self.metrics.note_store("key", CallOutcome::ok);
                self.unknown.insert(digest, self.clock.now().since_start);
            }
            Err(error) => {
                self.metrics.note_store("key", CallOutcome::failed);
                self.away(self.clock.now());
                warn!(%error, "a key cannot be looked up");
            }
        }
        read
    }

    async fn read_both(&self, digest: KeyDigest) -> Result<Option<Arc<Known>>, StoreError> {
        let Some(key) = self.store.key(&digest).await? else { return Ok(None) };
        let payer = self.payer(&key.project);
        let rights = match payer.rights(self.clock.now(), FRESH) {
            Some(rights) => rights,
            None => match self.store.project(&key.project).await? {
                Some(project) => payer.set_rights(Rights::of(&project, &self.config.gate), self.clock.now()),
                // Its project was deleted by hand; nobody pays for it.
                None => return Ok(None),
            },
        };
        Ok(Some(Arc::new(known(&key, payer, rights, self.clock.now()))))
    }
}

fn known(key: &Key, payer: Arc<Payer>, rights: Arc<Rights>, now: Now) -> Known {
    let restrictions = (key.restrictions != Restrictions::default()).then(|| Box::new(key.restrictions.clone()));
    Known {
        id: key.id(),
        payer,
        rights,
        restrictions,
        expires: key.expires,
        is_revoked: key.revoked.is_some(),
        read: now.since_start,
        is_being_read: AtomicBool::new(false),
    }
}
