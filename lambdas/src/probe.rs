//! The function `probe`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use jiff::Timestamp;
use nodeweir_aws::metrics::{Line, Unit};
use nodeweir_aws::{DynamoStore, read_secrets};
use nodeweir_control::probe::{self, Report, Scope};
use nodeweir_control::prober::HttpProber;
use nodeweir_domain::fleet::judge::{Health, State};
use nodeweir_domain::fleet::node::{Listed, Node, Role, SecretName};
use nodeweir_domain::name::NetworkId;
use nodeweir_domain::text::since;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::error::RunError;
use crate::events::ProbeEvent;
use crate::runtime::Function;
use crate::settings::Settings;

/// Between two ticks of the schedule where ticks are further apart than this, and otherwise what one run covers.
const MINUTE: Duration = Duration::from_secs(60);
/// What a tick may take beside its probes.
const STORING: Duration = Duration::from_secs(3);
/// The longest that Lambda lets a function run.
const LONGEST: Duration = Duration::from_secs(900);
/// How long values of secrets are believed; one that was changed is used after this.
const SECRETS_FOR: Duration = Duration::from_secs(600);
/// Nodes that get metrics of their own; each costs some. The others are fields of the log.
const NODES_WITH_METRICS: usize = 20;

type Values = BTreeMap<SecretName, String>;

/// Asks every node, judges, stores.
pub struct Probe {
    settings: Settings,
    sdk: SdkConfig,
    store: DynamoStore,
    prober: HttpProber,
    secrets: Arc<RwLock<Values>>,
    /// When the secrets were read.
    read: Mutex<Option<Instant>>,
}

impl Probe {
    /// With clients over `sdk`.
    pub fn new(sdk: &SdkConfig, settings: &Settings) -> Result<Self> {
        let secrets: Arc<RwLock<Values>> = Arc::default();
        let known = Arc::clone(&secrets);
        let value = move |name: &SecretName| known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let prober = HttpProber::new(&settings.config, Arc::new(value)).context("cannot make an HTTP client")?;
        let store = DynamoStore::new(sdk, settings.tables.clone());
        Ok(Self { settings: settings.clone(), sdk: sdk.clone(), store, prober, secrets, read: Mutex::default() })
    }

    async fn refresh_secrets(&self) {
        let mut read = self.read.lock().await;
        if read.is_some_and(|at| at.elapsed() < SECRETS_FOR) {
            return;
        }
        let (values, errors) = read_secrets(&self.sdk, &self.settings.aws).await;
        // What cannot be read now may still be right as it was.
        self.secrets.write().unwrap_or_else(PoisonError::into_inner).extend(values);
        for error in &errors {
            error!(%error, "a secret cannot be read");
        }
        *read = Some(Instant::now()).filter(|_| errors.is_empty());
    }

    async fn tick(&self, scope: &Scope) -> Result<Report, RunError> {
        let config = &self.settings.config;
        let report = probe::run(&self.store, &self.prober, config, scope, Timestamp::now()).await?;
        for (network, flip) in &report.flips {
            let (node, from, to, why) = (&flip.node, flip.from, flip.to, &flip.why);
            info!(%network, %node, %from, %to, why, "flip");
        }
        for (network, error) in &report.failed {
            error!(%network, %error, "health cannot be stored");
        }
        if report.starved > 0 {
            let nodes = report.starved;
            warn!(nodes, "the function gets too little of a processor to see answers in time: give it more memory");
        }
        if report.is_blind {
            warn!("no probe of any network succeeds: the fault is on this side, and health stays as it was");
        }
        if !report.overtaken.is_empty() {
            info!(networks = ?report.overtaken, "another run stored a tick meanwhile; this one's is dropped");
        }
        Ok(report)
    }

    /// A tick of all networks, and a second look at those whose own nodes all failed.
    async fn round(&self, until: Instant) -> Result<Report, RunError> {
        let (began, confirm_after) = (Instant::now(), self.settings.config.health.confirm_after);
        let mut report = self.tick(&Scope::All).await?;
        // The second look may take as long as the first.
        let took = began.elapsed();
        if !report.unconfirmed.is_empty() && Instant::now() + confirm_after + took < until {
            sleep(confirm_after).await;
            let second = self.tick(&Scope::Networks(report.unconfirmed.clone())).await?;
            report.health.extend(second.health);
            report.failed.extend(second.failed);
        }
        Ok(report)
    }

    /// As many rounds as there are to a minute; one if they are a minute or more apart.
    async fn rounds(&self, deadline: Timestamp) -> Result<Report, RunError> {
        let interval = self.settings.config.health.interval;
        let (begin, left) = (Instant::now(), since(Timestamp::now(), deadline).min(LONGEST));
        let mut next = begin;
        loop {
            next += interval;
            let is_last = next >= begin + MINUTE || next + self.settings.config.health.timeout + STORING > begin + left;
            let until = if is_last { begin + left } else { next };
            let report = self.round(until).await?;
            if is_last {
                return Ok(report);
            }
            sleep_until(next).await;
        }
    }

    fn measure(&self, report: &Report, now: Timestamp) {
        let stage = &self.settings.stage;
        Line::about(stage, &[])
            .put("RejectedItems", Unit::Count, count(report.listed.rejected.len()))
            .put_if("Blind", report.is_blind)
            .print(now);
        for item in &report.listed.rejected {
            let (network, node, why) = (&item.network, &item.node, &item.why);
            warn!(network, node, why, "an item of the node list is not usable");
        }
        for (network, health) in &report.health {
            measure_network(stage, network, &report.listed, health, now);
        }
        let nodes = report.listed.nodes.iter();
        let known = nodes.filter_map(|node| Some((node, report.health.get(&node.network)?)));
        for (index, (node, health)) in known.enumerate() {
            let line = measure_node(stage, node, health);
            if index < NODES_WITH_METRICS { line.print(now) } else { line.print_fields() }
        }
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn measure_network(stage: &str, network: &NetworkId, listed: &Listed, health: &Health, now: Timestamp) {
    let own: Vec<&Node> = listed.of(network).filter(|node| node.role == Role::Node).collect();
    let serving = own.iter().filter(|node| health.state(node) == State::Healthy && !node.is_cordoned(now)).count();
    let leader_answers = listed
        .of(network)
        .filter(|node| node.role == Role::Leader)
        .any(|leader| health.seen.nodes.get(&leader.name).is_some_and(|seen| seen.head.is_some()));
    // A node that an operator keeps out is nobody's to be woken for.
    let unhealthy = own.iter().filter(|node| !node.is_cordoned(now)).filter_map(|node| health.of(node));
    let unhealthy = unhealthy.filter(|status| status.state == State::Unhealthy);
    let longest = unhealthy.map(|status| since(status.since, now)).max().unwrap_or_default();
    let mut line = Line::about(stage, &[("Network", network.as_str())]);
    line.put("HealthyNodes", Unit::Count, count(serving))
        .put("Nodes", Unit::Count, count(own.len()))
        .put_if("LeaderAnswers", leader_answers)
        .put_if("FallbackActive", serving == 0)
        .put("LongestUnhealthySeconds", Unit::Seconds, longest.as_secs());
    if let Some(reference) = health.seen.reference {
        line.put("ReferenceHead", Unit::None, reference.head);
    }
    line.print(now);
}

fn measure_node(stage: &str, node: &Node, health: &Health) -> Line {
    let mut line = Line::about(stage, &[("Network", node.network.as_str()), ("Node", node.name.as_str())]);
    line.put_if("Healthy", health.state(node) == State::Healthy);
    if let Some(status) = health.of(node) {
        line.note("since", status.since.to_string());
        line.note("why", status.reason.as_ref().map(ToString::to_string));
    }
    if let Some(seen) = health.seen.nodes.get(&node.name) {
        line.put("LatencyMs", Unit::Milliseconds, seen.latency_ms);
        for (name, value) in [("Head", seen.head), ("Lag", seen.lag)] {
            if let Some(value) = value {
                line.put(name, Unit::None, value);
            }
        }
    }
    line
}

impl Function for Probe {
    const NAME: &'static str = "probe";

    async fn run(&self, event: Value, deadline: Timestamp) -> Result<Value, RunError> {
        let event: ProbeEvent = serde_json::from_value(event)?;
        self.refresh_secrets().await;
        let (report, all) = match event.networks {
            None => (self.rounds(deadline).await?, self.settings.config.networks.len()),
            Some(networks) => (self.tick(&Scope::Networks(networks.clone())).await?, networks.len()),
        };
        self.measure(&report, Timestamp::now());
        let failed: BTreeSet<_> = report.failed.iter().map(|(network, _)| network).collect();
        if !failed.is_empty() {
            return Err(RunError::Partly { failed: failed.len(), all });
        }
        Ok(json!({"flips": report.flips.len(), "rejected": report.listed.rejected.len()}))
    }
}
