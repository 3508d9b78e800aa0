//! One request's way through the gate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodeweir_domain::config::Config;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::gate::decide::{self, Caller, Circumstances, Held, Passed, Permit};
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::purse::{Purse, Standing};
use nodeweir_domain::gate::rate::{Bucket, Level};
use nodeweir_domain::gate::refusal::Refusal;
use nodeweir_domain::gate::request::{self, Call, Limits};
use nodeweir_domain::name::SidecarId;
use nodeweir_store::GateStore;
use tracing::warn;

use crate::clock::{Clock, Now};
use crate::keys::{Ages, Keys, Known, Looked};
use crate::ledger::Ledger;
use crate::limits::{self, PATIENCE, Shared};
use crate::metrics::Metrics;
use crate::named;
use crate::purses::{Promise, Turn, Which};
use crate::question::{Identity, Question, Verdict};
use crate::usage::Refunds;

/// JSON may be nested so deeply.
const DEPTH: usize = 32;

/// How often a request asks the ledger again before it is told to come back.
const TOP_UPS: usize = 3;

/// Decides. [`crate::run`] puts a server before it; by itself it is for measuring and trying.
pub struct Gate<S> {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Arc<Keys<S>>,
    pub(crate) ledger: Arc<Ledger<S>>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    limits: Limits,
    /// Who counts rates for all gates, if somebody does.
    pub(crate) shared: Option<Shared>,
    /// What keys have taken, if nobody does or they are away; only of those that are not idle.
    buckets: Mutex<HashMap<KeyId, Bucket>>,
}

impl<S: GateStore + 'static> Gate<S> {
    /// A gate that knows nothing yet, and counts rates by itself. No other has ever had the name `sidecar`.
    pub fn new(config: Arc<Config>, store: S, sidecar: SidecarId, ages: Ages) -> Self
    where
        S: Clone,
    {
        Self::by_clock(config, store, sidecar, ages, Clock::start())
    }

    pub(crate) fn by_clock(config: Arc<Config>, store: S, sidecar: SidecarId, ages: Ages, clock: Clock) -> Self
    where
        S: Clone,
    {
        let limits = Limits { batch: config.gate.batch as usize, depth: DEPTH };
        let metrics = Arc::new(Metrics::new());
        let keys = Arc::new(Keys::new(store.clone(), Arc::clone(&config), ages, clock, Arc::clone(&metrics)));
        let ledger = Arc::new(Ledger::new(store, sidecar, clock, Arc::clone(&metrics)));
        Self { config, keys, ledger, clock, metrics, limits, shared: None, buckets: Mutex::default() }
    }

    /// Bytes that a body may have.
    pub(crate) fn max_body(&self) -> u64 {
        self.config.proxy.limits.max_body
    }

    /// Members that a batch may have, and how deep it may be nested.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decides and counts. Waits for the store only if the key or its project's lease is not at hand.
    pub async fn ask(&self, question: &Question<'_>) -> Verdict {
        let begun = self.clock.now();
        let verdict = self.decide(question, begun).await;
        match &verdict {
            Verdict::Pass { .. } => drop(self.metrics.passed.inc()),
            Verdict::Refuse { refusal, .. } => self.metrics.note_refusal(refusal.code()),
        }
        let took = self.clock.since_start().saturating_sub(begun.since_start);
        self.metrics.seconds.observe(took.as_secs_f64());
        verdict
    }

    async fn decide(&self, question: &Question<'_>, now: Now) -> Verdict {
        let call = if question.is_websocket {
            None
        } else {
            match request::read(question.body, &self.limits) {
                Ok(call) => Some(call),
                Err(malformed) => return Verdict::refuse(malformed.into()),
            }
        };
        let Some(digest) = question.digest() else { return Verdict::refuse(Refusal::InvalidApiKey) };
        let known = match self.keys.find(digest, now).await {
            Looked::Known(known) => known,
            Looked::Unknown => return Verdict::refuse(Refusal::InvalidApiKey),
            Looked::Away => return Verdict::refuse(Refusal::GateUnavailable),
        };
        self.decide_known(question, call.as_ref(), &known, now).await
    }

    async fn decide_known(&self, question: &Question<'_>, call: Option<&Call<'_>>, known: &Known, now: Now) -> Verdict {
        let who = Identity::of(known);
        let caller = Caller {
            rights: &known.rights,
            restrictions: known.restrictions.as_deref(),
            is_revoked: known.is_revoked,
            expires: known.expires,
        };
        let about = Circumstances {
            network: question.network,
            origin: question.origin,
            // Most keys are not restricted, and then nobody looks at it.
            address: known.restrictions.as_ref().and_then(|_| question.address.parse::<IpAddr>().ok()),
            at: now.at,
        };
        let prices = &self.config.gate.prices;
        let refused = || call.map_or_else(websocket, |call| named::refused(call, prices));
        let permit = match call {
            Some(call) => decide::permit(call, &caller, &about, prices),
            None => decide::permit_websocket(&caller, &about),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(refusal) => {
                // A key that does not hold any more is told nothing of its project.
                let is_active = !matches!(refusal, Refusal::KeyInactive { .. });
                let (level, credits) = if is_active { self.left(known, now, PATIENCE).await } else { (None, None) };
                return Verdict::Refuse { who: Some(who), refusal, level, credits, methods: refused() };
            }
        };
        match self.spend(&permit, known, now).await {
            Ok(passed) => {
                if passed.is_overdraft {
                    self.metrics.overdraft.inc_by(permit.cost);
                }
                let methods = call.map_or_else(websocket, |call| named::methods(call, question.network, prices));
                let is_quiet = call.is_some_and(Call::is_quiet);
                Verdict::Pass { who, passed, cost: permit.cost, methods, is_quiet }
            }
            Err((refusal, level)) => {
                let credits = self.with_purse(known, now, |purse| purse.remaining());
                Verdict::Refuse { who: Some(who), refusal, level, credits, methods: refused() }
            }
        }
    }

    async fn spend(&self, permit: &Permit, known: &Known, begun: Now) -> Result<Passed, (Refusal, Option<Level>)> {
        let mut now = begun;
        let mut promise = None;
        let live = self.ledger.live();
        let mut turn = self.shared.as_ref().map(|shared| shared.turn(known.id, permit.quota, permit.calls, live));
        for _ in 0..=TOP_UPS {
            let elsewhere = match &mut turn {
                Some(turn) => self.spend_shared(turn, permit, known, promise.as_ref()).await,
                None => None,
            };
            if elsewhere.is_none() && turn.take().is_some() {
                self.metrics.limits_local.inc();
                now = self.clock.now();
            }
            match elsewhere.unwrap_or_else(|| self.spend_here(permit, known, promise.as_ref(), now)) {
                Ok(passed) => return Ok(passed),
                Err(Held::Refused(refusal, level)) => return Err((refusal, Some(level))),
                Err(Held::TopUp(_)) => promise = known.payer.top_up(&self.ledger, permit.cost, begun).await,
                // Its month ended just now.
                Err(Held::Closed) => {}
            }
            now = self.clock.now();
        }
        // Others took what was leased each time.
        let patience = turn.map_or(Duration::ZERO, |turn| turn.patience);
        Err((Refusal::GateUnavailable, self.left(known, now, patience).await.0))
    }

    /// By what this gate has counted itself.
    fn spend_here(&self, permit: &Permit, known: &Known, promise: Option<&Promise>, now: Now) -> Result<Passed, Held> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nothing is taken from is idle, and leaves with the next sweep.
        let bucket = buckets.entry(known.id).or_default();
        let live = self.ledger.live();
        self.with_purse(known, now, |purse| {
            if promise.is_none() && known.payer.is_promised(purse, permit.cost, now) {
                return wait(permit, live, bucket, purse, now);
            }
            decide::spend(permit, live, bucket, purse, now.nanos())
        })
    }

    /// By what all gates have counted; nothing if that cannot be known in time.
    async fn spend_shared(
        &self,
        turn: &mut limits::Turn<'_>,
        permit: &Permit,
        known: &Known,
        promise: Option<&Promise>,
    ) -> Option<Result<Passed, Held>> {
        let now = self.clock.now();
        let standing = self.with_purse(known, now, |purse| purse.look(permit.cost, now.nanos()));
        // Nothing is taken for a request that has no credits; but it is told first that it is too fast, if it is.
        let takes = turn.has_taken() || !matches!(standing, Standing::Short | Standing::Away);
        let (mut bucket, now) = turn.ask(takes).await?;
        // The bucket is that of all gates.
        let live = NonZeroU32::MIN;
        Some(self.with_purse(known, now, |purse| {
            // Credits that came meanwhile are left for another look, which takes of the rate too.
            if !takes || (promise.is_none() && known.payer.is_promised(purse, permit.cost, now)) {
                return wait(permit, live, &bucket, purse, now);
            }
            decide::spend(permit, live, &mut bucket, purse, now.nanos()).inspect(|_| turn.pass())
        }))
    }

    /// Does something with the project's purse of this month.
    fn with_purse<T>(&self, known: &Known, now: Now, work: impl FnOnce(&mut Purse) -> T) -> T {
        known.payer.with_purse(self.ledger.overdraft(&known.rights), now, work)
    }

    /// What a key has left of its rate, and its project of its credits, as far as that is known. Takes nothing.
    async fn left(&self, known: &Known, now: Now, patience: Duration) -> (Option<Level>, Option<u64>) {
        let elsewhere = match (&self.shared, known.rights.quota) {
            (Some(shared), Some(quota)) => shared.look(known.id, quota, patience).await,
            _ => None,
        };
        let (bucket, now) = elsewhere.unwrap_or_else(|| {
            let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            (buckets.get(&known.id).copied().unwrap_or_default(), now)
        });
        let look = |quota| bucket.look(quota, 0, now.nanos()).unwrap_or_else(|limited| limited.level);
        let level = known.rights.quota.map(look);
        (level, self.with_purse(known, now, |purse| purse.remaining()))
    }

    /// Gives back what requests cost that no node answered.
    ///
    /// At most once: the log's offset was written before, so what is prevented by a crash, or by a store that wrote and
    /// did not say so, is not tried again. That is to the client's disadvantage, and never more than what one write
    /// counted. What is for a month that has ended is dropped, and so is what is for a project that cannot be read.
    pub(crate) async fn refund(&self, refunds: &Refunds) {
        let (mut ended, mut unread) = (0u64, 0u64);
        for ((project, period), credits) in refunds {
            let payer = self.keys.payer(project);
            match self.keys.rights_of(&payer).await {
                // Reading may have taken its time, and the month may have ended.
                Some(rights) => {
                    let now = self.clock.now();
                    if *period == Period::of(now.at) {
                        payer.with_purse(self.ledger.overdraft(&rights), now, |purse| purse.refund(*credits));
                        self.metrics.refunded.inc_by(*credits);
                    } else {
                        ended = ended.saturating_add(*credits);
                    }
                }
                None => unread = unread.saturating_add(*credits),
            }
        }
        if ended > 0 || unread > 0 {
            warn!(
                month_has_ended = ended,
                project_unreadable = unread,
                "credits of failed requests are not given back: their month has ended, or their project cannot be read"
            );
        }
    }

    /// Forgets what is idle.
    pub(crate) fn sweep(&self) {
        let now = self.clock.now().nanos();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| !bucket.is_idle(now));
        self.metrics.buckets.set(i64::try_from(buckets.len()).unwrap_or(i64::MAX));
        drop(buckets);
        self.keys.sweep();
    }

    /// Settles what projects spent, for those that need it. Told to `give_back`, it leaves nothing leased.
    pub async fn settle(&self, give_back: bool) {
        Arc::clone(&self.ledger).settle(self.turns(give_back)).await;
    }

    /// What is to be settled now: nothing, if nothing is due; with what is due, what soon would be.
    pub(crate) fn turns(&self, give_back: bool) -> Vec<Turn> {
        let (trade, payers) = (self.ledger.trade(), self.keys.payers());
        if !give_back && !payers.iter().any(|payer| payer.is_due(trade.now)) {
            return Vec::new();
        }
        let which = if give_back { Which::All } else { Which::Soon };
        payers.iter().filter_map(|payer| payer.turn(which, trade)).collect()
    }

    /// Whether nothing is leased, and the ledger knows all that was spent.
    pub(crate) fn is_settled(&self) -> bool {
        self.keys.payers().iter().all(|payer| payer.is_empty())
    }
}

/// Takes nothing: says why the request is refused, or that it has to wait.
fn wait(permit: &Permit, live: NonZeroU32, bucket: &Bucket, purse: &Purse, now: Now) -> Result<Passed, Held> {
    let tried = decide::spend(permit, live, &mut bucket.clone(), &mut purse.clone(), now.nanos());
    tried.and_then(|passed| Err(Held::TopUp(passed.level)))
}

/// The opening of a WebSocket, where calls stand in the access log.
fn websocket() -> String {
    format!("{}:1:0", decide::WEBSOCKET)
}
