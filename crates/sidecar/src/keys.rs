//! Keys and projects that were looked up, so that the way of a request meets the store once per key and [`Ages::fresh`].
//!
//! An entry is good while it is [`Ages::fresh`]. Then it is still used while it is read anew beside the request, together
//! with others; and from [`Ages::stale`] on the request waits for that, so a revocation is effective within `stale` and the
//! length of a look-up.
//! While the store is away or slow, nobody waits who is known, and unknown keys are told to come again (503, not 401).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::gate::decide::Rights;
use nodeweir_domain::gate::key::{Key, KeyDigest, KeyId};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Each, GateStore, StoreError};
use quick_cache::sync::Cache;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::{Clock, Now};
use crate::metrics::{CallOutcome, Metrics};
use crate::purses::Payer;

/// How old an entry may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Until then it is used without another look.
    pub fresh: Duration,
    /// From then on a request waits for the look-up.
    pub stale: Duration,
    /// If not zero, all that are in use grow old together, every `fresh`, and gather for so long to be read together.
    pub gather: Duration,
}

impl Ages {
    /// Where each call is paid for: a key that is in use is read four times a minute, with up to a hundred in a call, and
    /// there are at most some thirty calls a minute and hundred keys. Those 25 s are below the 30 s, too.
    pub const SPARING: Self =
        Self { fresh: Duration::from_secs(15), stale: Duration::from_secs(25), gather: Duration::from_secs(2) };

    /// Whether what was read then is no longer fresh.
    fn is_old(&self, read: Duration, now: Duration) -> bool {
        if self.gather.is_zero() {
            return now.saturating_sub(read) >= self.fresh;
        }
        let age_of = |at: Duration| at.as_nanos().checked_div(self.fresh.as_nanos());
        age_of(read) != age_of(now)
    }
}

impl Default for Ages {
    /// With a look-up per key and 10 s, 100,000 hot keys are 10,000 reads a second at worst, which the embedded store does
    /// on half a core. 20 s are below the 30 s within which a revocation is effective.
    fn default() -> Self {
        Self { fresh: Duration::from_secs(10), stale: Duration::from_secs(20), gather: Duration::ZERO }
    }
}

/// How long it is believed that there is no such key. Short, so that a new key works soon wherever it was tried early;
/// long enough that a client that repeats a wrong key costs nothing.
const UNKNOWN: Duration = Duration::from_secs(10);

/// How long a request waits for the store, for all that it needs of it. Below nginx's patience with the gate.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

/// Keys that are held. Each takes about 200 bytes.
const KEYS: usize = 200_000;

/// Keys that are known not to be there.
const UNKNOWN_KEYS: usize = 50_000;

/// First look-ups at a time: a flood of unknown keys waits for itself.
const LOOKUPS: usize = 16;

/// First look-ups that may wait; beyond, clients are told to come again.
const PLACES: usize = 1024;

/// Known keys that are read anew together: what one call of `DynamoDB` reads.
const TOGETHER: usize = 100;

/// How many times so many are read at a time. They do not wait behind unknown ones, or a flood of those would keep a
/// revocation from being seen.
const REFRESHES: usize = 8;

/// How long the store has for reading known keys anew, beside requests.
const REFRESH: Duration = Duration::from_secs(10);

/// How old what is known of a project may be when its keys are read anew.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Those who wait for a key to be read anew share so many bells.
const BELLS: usize = 64;

/// How long a store that has just failed is left alone.
const AWAY: Duration = Duration::from_millis(250);

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
    ages: Ages,
    lookups: Semaphore,
    places: Semaphore,
    refreshes: Semaphore,
    /// Known keys that are to be read anew.
    refreshing: Mutex<Vec<KeyDigest>>,
    /// Rung when a key with that first byte was read anew, or could not be.
    bells: [Notify; BELLS],
    /// When the store failed last, in nanoseconds since this process started; 0 if it answered since, and in time.
    failed: AtomicU64,
    payers: Mutex<HashMap<ProjectId, Arc<Payer>>>,
}

impl<S: GateStore + 'static> Keys<S> {
    pub(crate) fn new(store: S, config: Arc<Config>, ages: Ages, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            config,
            clock,
            metrics,
            known: Cache::new(KEYS),
            unknown: Cache::new(UNKNOWN_KEYS),
            ages,
            lookups: Semaphore::new(LOOKUPS),
            places: Semaphore::new(PLACES),
            refreshes: Semaphore::new(REFRESHES),
            refreshing: Mutex::default(),
            bells: std::array::from_fn(|_| Notify::new()),
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

    /// The key with this digest. `begun` is when the request came.
    pub(crate) async fn find(self: &Arc<Self>, digest: KeyDigest, begun: Now) -> Looked {
        let Some(known) = self.known.get(&digest) else {
            return timeout(PATIENCE, self.find_first(digest)).await.unwrap_or(Looked::Away);
        };
        let age = begun.since_start.saturating_sub(known.read);
        if !self.ages.is_old(known.read, begun.since_start) {
            return Looked::Known(known);
        }
        if !self.is_left_alone() {
            self.refresh(digest, &known, self.ages.gather);
        }
        if age >= self.ages.stale && self.failed().is_none() {
            return match timeout(PATIENCE, self.refreshed(digest, begun)).await {
                Ok(looked) => looked,
                Err(_) => {
                    // Nobody else waits until the store answers in time again.
                    self.note_failed("no answer in time");
                    Looked::Known(known)
                }
            };
        }
        Looked::Known(known)
    }

    /// When the store failed, or kept somebody waiting in vain, if it was not right since.
    fn failed(&self) -> Option<Duration> {
        match self.failed.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn is_left_alone(&self) -> bool {
        self.failed().is_some_and(|failed| self.clock.since_start().saturating_sub(failed) < AWAY)
    }

    fn note_failed(&self, why: &str) {
        self.metrics.note_store("key", CallOutcome::failed);
        let now = self.clock.now().nanos().0.max(1);
        // Once, and not for each of ten thousand requests a second.
        if self.failed.fetch_max(now, Ordering::AcqRel) == 0 {
            warn!(why, "keys cannot be looked up; known ones are served as they were");
        }
    }

    fn note_answered(&self, took: Duration) {
        self.metrics.note_store("key", CallOutcome::ok);
        if took < PATIENCE && self.failed.swap(0, Ordering::AcqRel) != 0 {
            info!("keys can be looked up again");
        }
    }

    async fn find_first(&self, digest: KeyDigest) -> Looked {
        if self.is_unknown(&digest) {
            return Looked::Unknown;
        }
        if self.is_left_alone() {
            return Looked::Away;
        }
        match self.known.get_value_or_guard_async(&digest).await {
            Ok(known) => Looked::Known(known),
            // Who waited for somebody else's look-up need not repeat it.
            Err(_guard) if self.is_unknown(&digest) => Looked::Unknown,
            Err(guard) => {
                let Ok(_turn) = self.turn().await else { return Looked::Away };
                if self.is_left_alone() {
                    return Looked::Away;
                }
                match self.look_up(digest, PATIENCE).await {
                    Ok(Some(known)) => {
                        let _ = guard.insert(Arc::clone(&known));
                        Looked::Known(known)
                    }
                    Ok(None) => Looked::Unknown,
                    Err(_) => Looked::Away,
                }
            }
        }
    }

    /// Leave to look a key up for the first time. Waiting for it says nothing of the store.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ()> {
        if let Ok(turn) = self.lookups.try_acquire() {
            return Ok(turn);
        }
        // Each who waits is bounded by its own patience; this bounds how many a flood may leave waiting.
        let _place = self.places.try_acquire().map_err(drop)?;
        self.lookups.acquire().await.map_err(drop)
    }

    fn is_unknown(&self, digest: &KeyDigest) -> bool {
        self.unknown.get(digest).is_some_and(|since| self.clock.since_start().saturating_sub(since) < UNKNOWN)
    }

    fn bell(&self, digest: &KeyDigest) -> &Notify {
        &self.bells[usize::from(digest.0[0]) % BELLS]
    }

    /// Has a key read anew beside requests, with others that are asked for within `gather`, unless that is under way.
    fn refresh(self: &Arc<Self>, digest: KeyDigest, known: &Known, gather: Duration) {
        let is_to_begin = {
            let mut refreshing = self.refreshing();
            let is_new = !known.is_being_read.swap(true, Ordering::AcqRel);
            if is_new {
                refreshing.push(digest);
            }
            // Who waits for it takes along those who gather.
            if gather.is_zero() { !refreshing.is_empty() } else { is_new && refreshing.len() == 1 }
        };
        if is_to_begin {
            let keys = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(gather).await;
                let digests = std::mem::take(&mut *keys.refreshing());
                let chunks = digests.chunks(TOGETHER).map(|digests| keys.refresh_all(digests));
                futures_util::future::join_all(chunks).await;
            });
        }
    }

    /// Waits until a key was read anew after `begun`, or cannot be.
    async fn refreshed(self: &Arc<Self>, digest: KeyDigest, begun: Now) -> Looked {
        loop {
            let mut rung = std::pin::pin!(self.bell(&digest).notified());
            rung.as_mut().enable();
            match self.known.get(&digest) {
                Some(known) if known.read >= begun.since_start || self.failed().is_some() => {
                    return Looked::Known(known);
                }
                Some(known) => {
                    self.refresh(digest, &known, Duration::ZERO);
                    rung.await;
                }
                None if self.is_unknown(&digest) => return Looked::Unknown,
                // Others needed its place meanwhile.
                None => return self.find_first(digest).await,
            }
        }
    }

    /// Reads keys that are held anew.
    async fn refresh_all(&self, digests: &[KeyDigest]) {
        let read = match self.refreshes.acquire().await {
            // It may have failed others while these waited.
            Ok(_turn) if !self.is_left_alone() => self.look_up_all(digests).await,
            _ => digests.iter().map(|_| None).collect(),
        };
        for (digest, read) in digests.iter().zip(read) {
            match read {
                Some(Some(known)) => self.known.insert(*digest, known),
                Some(None) => drop(self.known.remove(digest)),
                None => {
                    if let Some(known) = self.known.get(digest) {
                        known.is_being_read.store(false, Ordering::Release);
                    }
                }
            }
        }
        for bell in &self.bells {
            bell.notify_waiters();
        }
    }

    /// What became of each key; nothing, where the store cannot tell.
    async fn look_up_all(&self, digests: &[KeyDigest]) -> Vec<Option<Option<Arc<Known>>>> {
        let begun = self.clock.since_start();
        let Ok(read) = timeout(REFRESH, self.read_all(digests)).await else {
            self.note_failed("no answer in time");
            return digests.iter().map(|_| None).collect();
        };
        let took = self.clock.since_start().saturating_sub(begun);
        let look = |(digest, read): (&KeyDigest, Result<Option<Arc<Known>>, StoreError>)| match read {
            Ok(found) => {
                self.note_answered(took);
                if found.is_none() {
                    self.unknown.insert(*digest, self.clock.since_start());
                }
                Some(found)
            }
            Err(error) => {
                self.note_failed(&error.to_string());
                None
            }
        };
        digests.iter().zip(read).map(look).collect()
    }

    async fn read_all(&self, digests: &[KeyDigest]) -> Each<Option<Arc<Known>>> {
        let keys = self.store.find_keys(digests).await;
        let owners: BTreeSet<ProjectId> = keys.iter().flatten().flatten().map(|key| key.project.clone()).collect();
        let now = self.clock.now();
        let owners = owners.into_iter().filter(|id| self.payer(id).rights(now, JUST_NOW).is_none());
        let owners: Vec<ProjectId> = owners.collect();
        let projects = self.store.find_projects(&owners).await;
        let projects: HashMap<&ProjectId, _> = owners.iter().zip(projects).collect();
        let mut each = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(key) = key.transpose() else {
                each.push(Ok(None));
                continue;
            };
            each.push(key.and_then(|key| {
                let payer = self.payer(&key.project);
                let rights = match projects.get(&key.project) {
                    None => payer.rights(now, Duration::MAX),
                    Some(Ok(Some(project))) => Some(payer.set_rights(Rights::of(project, &self.config.gate), now)),
                    // Its project was deleted by hand; nobody pays for it.
                    Some(Ok(None)) => None,
                    Some(Err(error)) => return Err(error.clone()),
                };
                Ok(rights.map(|rights| Arc::new(known(&key, payer, rights, now))))
            }));
        }
        each
    }

    fn refreshing(&self) -> MutexGuard<'_, Vec<KeyDigest>> {
        self.refreshing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, digest: KeyDigest, patience: Duration) -> Result<Option<Arc<Known>>, StoreError> {
        let begun = self.clock.since_start();
        let slow = || StoreError::Unavailable { place: "of keys".to_owned(), why: "no answer in time".to_owned() };
        let read = timeout(patience, self.read_both(digest)).await.unwrap_or_else(|_| Err(slow()));
        match &read {
            Ok(found) => {
                self.note_answered(self.clock.since_start().saturating_sub(begun));
                if found.is_none() {
                    self.unknown.insert(digest, self.clock.since_start());
                }
            }
            Err(error) => self.note_failed(&error.to_string()),
        }
        read
    }

    async fn read_both(&self, digest: KeyDigest) -> Result<Option<Arc<Known>>, StoreError> {
        let Some(key) = self.store.key(&digest).await? else { return Ok(None) };
        let payer = self.payer(&key.project);
        let rights = match payer.rights(self.clock.now(), self.ages.fresh) {
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
