//! The loop of `up`: ticks, edits, confirmations and the proxy's ends lead to the same flows that run on AWS.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_control::folder::FolderObject;
use nodeweir_control::probe::{self, Report as Probed, Scope};
use nodeweir_control::prober::HttpProber;
use nodeweir_control::{listing, publish, rollout};
use nodeweir_domain::fleet::inspect::Finding;
use nodeweir_domain::fleet::node::Role;
use nodeweir_domain::name::NetworkId;
use nodeweir_sidecar::Condition;
use nodeweir_store::sqlite::{Runtime, SqliteStore};
use nodeweir_store::{Event, FleetStore as _, GateStore as _, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::screen::Screen;
use super::service::{LocalService, Runner};
use crate::context::Context;
use crate::place::Runs;
use crate::report::gather;

use std::sync::Arc;

/// How often edits are looked for; an edit shall be seen within a second.
const LOOK: Duration = Duration::from_millis(250);
/// How often the picture is drawn.
const DRAW: Duration = Duration::from_secs(1);
/// How often the proxy's log of what was used is looked after.
const UPKEEP: Duration = Duration::from_secs(1);
/// After a flow failed for a reason that may pass.
const RETRY: Duration = Duration::from_secs(2);

/// Everything the loop works with.
pub(super) struct Control {
    pub(super) context: Context,
    pub(super) object: FolderObject,
    pub(super) prober: HttpProber,
    pub(super) runner: Runner,
    /// The proxy's name and version.
    pub(super) proxy: String,
    pub(super) screen: Arc<Screen>,
    /// How the gate does.
    pub(super) gate: watch::Receiver<Condition>,
}

/// What the loop remembers between two events. Nothing of it matters after a crash.
#[derive(Default)]
struct Memory {
    edits: u64,
    /// Networks to ask again, and when: unconfirmed failures, new nodes, overtaken runs.
    again: Option<(Instant, BTreeSet<NetworkId>)>,
    /// When to publish and roll out again after a failure.
    retry: Option<Instant>,
    /// When to start a proxy again that ended unasked.
    restart: Option<Instant>,
    runtime: Option<Runtime>,
    findings: Vec<Finding>,
    rejected_items: usize,
    is_blind: bool,
}

impl Memory {
    fn ask_again(&mut self, at: Instant, networks: BTreeSet<NetworkId>) {
        if networks.is_empty() {
            return;
        }
        let (when, all) = self.again.get_or_insert_with(|| (at, BTreeSet::new()));
        *when = at.min(*when);
        all.extend(networks);
    }
}

impl Control {
    /// Runs until it is dropped. Returns only when the state cannot be used at all.
    pub(super) async fn run(&self) -> Result<()> {
        let started = match self.runner.here() {
            Some(service) => service.start_last_good().await,
            None => None,
        };
        match started {
            Some(Ok(name)) => info!(revision = name, "serving the last good revision"),
            Some(Err(error)) => warn!(%error, "the last good revision cannot be served"),
            None => {}
        }
        let store = self.open_store().await?;
        self.compare_leaders(&store).await;
        self.look_for_tiers(&store).await;
        let mut memory = Memory { edits: store.edits().await.unwrap_or_default(), ..Memory::default() };
        self.tell(&store, None, &mut memory).await;
        let mut probes: JoinSet<(bool, Result<Probed, StoreError>)> = JoinSet::new();
        let mut ticks = interval(self.context.config.health.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut draws, mut upkeeps) = (interval(LOOK), interval(DRAW), interval(UPKEEP));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        draws.set_missed_tick_behavior(MissedTickBehavior::Delay);
        upkeeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_ticking = false;
        let mut gate = self.gate.clone();
        loop {
            let again = memory.again.as_ref().map(|(at, _)| *at);
            let (retry, restart) = (memory.retry, memory.restart);
            tokio::select! {
                _ = ticks.tick(), if !is_ticking => {
                    is_ticking = true;
                    self.spawn_probe(&mut probes, &store, Scope::All);
                }
                Some(probed) = probes.join_next() => {
                    let Ok((was_tick, probed)) = probed else {
                        error!("a probe run ended abnormally");
                        is_ticking = false;
                        continue;
                    };
                    is_ticking &= !was_tick;
                    self.note_probed(probed, &mut memory);
                    self.reconcile(&store, &mut memory).await;
                }
                _ = looks.tick() => self.look_for_edits(&store, &mut memory).await,
                () = at(again) => {
                    if let Some((_, networks)) = memory.again.take() {
                        self.spawn_probe(&mut probes, &store, Scope::Networks(networks));
                    }
                }
                () = at(retry) => self.reconcile(&store, &mut memory).await,
                (exited, service) = self.runner.exited(), if restart.is_none() => {
                    warn!("{exited}; it is started again");
                    self.note(&store, "proxy", exited.to_string()).await;
                    memory.restart = Some(Instant::now() + service.pause().await);
                }
                () = at(restart) => {
                    memory.restart = None;
                    if let Some(service) = self.runner.here()
                        && let Err(error) = service.restart().await
                    {
                        error!(%error, "the proxy cannot be started");
                        memory.retry = Some(Instant::now());
                    }
                }
                Ok(()) = gate.changed() => {
                    let is_refusing = gate.borrow_and_update().refuses(self.context.config.gate.when_away);
                    if let Some(service) = self.runner.here()
                        && let Err(error) = service.set_refusing(is_refusing).await
                    {
                        warn!(%error, "/readyz cannot be made to say how the gate does");
                    }
                    let fault = memory.runtime.as_ref().and_then(|runtime| runtime.fault.clone());
                    self.tell(&store, fault, &mut memory).await;
                }
                _ = draws.tick() => self.draw(&store, &memory).await,
                _ = upkeeps.tick() => match self.runner.here() {
                    Some(service) => if let Err(error) = service.upkeep().await {
                        error!(%error, "the log of what was used cannot be looked after");
                    },
                    // It takes what is published when it sees it.
                    None => {
                        let fault = memory.runtime.as_ref().and_then(|runtime| runtime.fault.clone());
                        self.tell(&store, fault, &mut memory).await;
                    }
                },
            }
        }
    }

    /// Opens the store, again and again: the proxy serves meanwhile, and whatever is wrong may pass.
    async fn open_store(&self) -> Result<SqliteStore> {
        let mut said = false;
        loop {
            match SqliteStore::open(&self.context.state.join("state.db")) {
                Ok(store) => return Ok(store),
                Err(error @ StoreError::Newer { .. }) => return Err(error.into()),
                Err(error) if !said => {
                    error!(%error, "the state cannot be used; what runs goes on, and this is tried again");
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The list counts, not the configuration, once a leader stands in it; whoever edits only the latter should know.
    async fn compare_leaders(&self, store: &SqliteStore) {
        let Ok(listed) = listing::read(store, &self.context.config).await else { return };
        for (network, settings) in &self.context.config.networks {
            let leader = listed.of(network).find(|node| node.role == Role::Leader);
            if let Some(leader) = leader.filter(|leader| leader.address != settings.leader.address) {
                let (listed, configured) = (&leader.address.url, &settings.leader.address.url);
                warn!(%network, leader = %leader.name, %listed, %configured,
                    "the node list has another address for the leader than the configuration; the list counts (`nodeweir node edit`)");
            }
        }
    }

    /// A project whose limits are not known is refused, and only an operator can mend that.
    async fn look_for_tiers(&self, store: &SqliteStore) {
        let gate = &self.context.config.gate;
        let Ok(projects) = store.projects().await else { return };
        let unknown = projects.iter().filter(|project| gate.allowance(project).is_none());
        let names: Vec<_> = unknown.map(|project| format!("{} ({})", project.id, project.tier)).collect();
        if gate.enabled && !names.is_empty() {
            let (projects, file) = (names.join(", "), self.context.file.display());
            warn!(projects, %file,
                "the configuration has no such tier, or one without numbers: all requests of these projects are answered \
                 503 until it has, or `nodeweir project set-tier` moves them to another");
        }
    }

    fn spawn_probe(&self, probes: &mut JoinSet<(bool, Result<Probed, StoreError>)>, store: &SqliteStore, scope: Scope) {
        let (store, prober, config) = (store.clone(), self.prober.clone(), self.context.config.clone());
        let is_tick = scope == Scope::All;
        probes.spawn(async move { (is_tick, probe::run(&store, &prober, &config, &scope, Timestamp::now()).await) });
    }

    fn note_probed(&self, probed: Result<Probed, StoreError>, memory: &mut Memory) {
        let report = match probed {
            Ok(report) => report,
            Err(error) => return error!(%error, "the fleet cannot be probed"),
        };
        for (network, flip) in &report.flips {
            let (node, from, to, why) = (&flip.node, flip.from, flip.to, &flip.why);
            info!(%network, %node, %from, %to, why, "flip");
        }
        for (network, error) in &report.failed {
            error!(%network, %error, "health cannot be stored");
        }
        if report.listed.rejected.len() != memory.rejected_items {
            for item in &report.listed.rejected {
                warn!(
                    network = item.network,
                    node = item.node,
                    why = item.why,
                    "an item of the node list is not usable"
                );
            }
            memory.rejected_items = report.listed.rejected.len();
        }
        if report.starved > 0 {
            warn!(
                nodes = report.starved,
                "this machine is too busy to see answers in time; their health stays as it was"
            );
        }
        if report.is_blind != memory.is_blind {
            memory.is_blind = report.is_blind;
            if report.is_blind {
                warn!("no probe of any network succeeds: the fault is on this side, and health stays as it was");
            } else {
                info!("probes succeed again");
            }
        }
        let now = Instant::now();
        memory.ask_again(now + self.context.config.health.confirm_after, report.unconfirmed);
        memory.ask_again(now, report.overtaken);
    }

    async fn look_for_edits(&self, store: &SqliteStore, memory: &mut Memory) {
        match store.edits().await {
            Ok(edits) if edits != memory.edits => memory.edits = edits,
            Ok(_) => return,
            Err(error) => return warn!(%error, "edits cannot be looked for"),
        }
        // What needs no probe (a cordon, a removal, a rollback) is live at once.
        self.reconcile(store, memory).await;
        match probe::unjudged(store, &self.context.config).await {
            Ok(networks) => memory.ask_again(Instant::now(), networks),
            Err(error) => warn!(%error, "new nodes cannot be looked for"),
        }
    }

    /// Publishes what should be, and makes the proxy run what is published.
    async fn reconcile(&self, store: &SqliteStore, memory: &mut Memory) {
        memory.retry = None;
        let config = &self.context.config;
        let mut fault = None;
        match publish::run(store, &self.object, config, Timestamp::now()).await {
            Ok(publish::Outcome::Published { name, reason, findings }) => {
                info!(revision = name, reason, "published");
                note_findings(findings, memory);
            }
            Ok(publish::Outcome::Unchanged { findings, .. }) => note_findings(findings, memory),
            Ok(publish::Outcome::Refused(findings)) => {
                let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
                fault = Some(format!("publishing is refused, the last good revision stays: {}", all.join("; ")));
            }
            Err(error) => fault = Some(format!("cannot publish: {error}")),
        }
        if let Some(service) = self.runner.here()
            && let Err(error) = self.roll_out(store, service, memory).await
        {
            fault = Some(format!("cannot roll out: {error}"));
        }
        if let Some(fault) = &fault {
            memory.retry = Some(Instant::now() + RETRY);
            if memory.runtime.as_ref().and_then(|runtime| runtime.fault.as_ref()) != Some(fault) {
                error!("{fault}");
            }
        }
        self.tell(store, fault, memory).await;
    }

    async fn roll_out(
        &self,
        store: &SqliteStore,
        service: &LocalService,
        memory: &Memory,
    ) -> Result<(), rollout::RolloutError> {
        match rollout::run(store, &self.object, service, &self.context.config, Timestamp::now()).await? {
            rollout::Outcome::Started(name) => info!(revision = name, "live"),
            rollout::Outcome::Rejected(name, why) => {
                let known = memory.runtime.as_ref().and_then(|runtime| runtime.rejected.as_ref());
                if known.map(|(name, _)| name) != Some(&name) {
                    error!(revision = name, why, "rejected by the proxy's checker; the one before stays live");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells other processes what runs, if that changed.
    async fn tell(&self, store: &SqliteStore, fault: Option<String>, memory: &mut Memory) {
        let state = self.runner.state().await;
        let (proxy, at) = (self.proxy.clone(), Timestamp::now());
        let (pid, gate_fault) = (std::process::id(), self.gate.borrow().fault.clone());
        let runtime = Runtime { at, pid, proxy, running: state.running, rejected: state.rejected, fault, gate_fault };
        let same = |before: &Runtime| Runtime { at: before.at, ..runtime.clone() } == *before;
        if memory.runtime.as_ref().is_some_and(same) {
            return;
        }
        match store.put_runtime(&runtime).await {
            Ok(()) => memory.runtime = Some(runtime),
            Err(error) => warn!(%error, "what runs cannot be told to `status`"),
        }
    }

    async fn note(&self, store: &SqliteStore, kind: &str, what: String) {
        let event = Event {
            at: Timestamp::now(),
            who: "up".to_owned(),
            kind: kind.to_owned(),
            network: None,
            node: None,
            what,
        };
        if let Err(error) = store.record_events(&[event]).await {
            warn!(%error, "an event cannot be recorded");
        }
    }

    async fn draw(&self, store: &SqliteStore, memory: &Memory) {
        let now = Timestamp::now();
        let runs = Runs::Up { is_up: self.context.is_up(), runtime: memory.runtime.clone() };
        match gather(&self.context, store, &self.object, runs, now).await {
            Ok(report) => self.screen.show(&report, now),
            Err(error) => warn!("the state cannot be shown: {error:#}"),
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Says findings once, not at every tick.
fn note_findings(findings: Vec<Finding>, memory: &mut Memory) {
    for finding in findings.iter().filter(|finding| !memory.findings.contains(finding)) {
        warn!("{finding}");
    }
    memory.findings = findings;
}
