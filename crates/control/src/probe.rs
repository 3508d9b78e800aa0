//! The flow *probe*: ask every node, judge, store what changed.
//!
//! What one tick learns of a network is written under the condition that nobody else wrote a tick there since this
//! one began; who loses that race drops what it learned. The tick is written before the statuses: a crash in between
//! loses a conclusion, which the next tick draws again, never a streak.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::judge::{Flip, Health, Judged, is_blind, judge, stale};
use nodeweir_domain::fleet::node::{Listed, Node};
use nodeweir_domain::fleet::probe::{Failure, Observation, asks_chain};
use nodeweir_domain::name::{NetworkId, NodeName};
use nodeweir_store::{Event, FleetStore, StoreError, Written};

use crate::edges::Prober;
use crate::listing;

/// Nodes that are asked side by side. Each needs a file descriptor or two, of which Lambda gives 1,024; fewer would make a
/// tick over thousands of nodes that do not answer last longer than a function may run.
const ASKED_AT_ONCE: usize = 512;

/// Statuses that are written side by side: the first tick over a long list writes all of them.
const WRITTEN_AT_ONCE: usize = 32;

/// Which networks to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them: a regular tick.
    All,
    /// Some, because of an edit or to confirm a failure.
    Networks(BTreeSet<NetworkId>),
}

impl Scope {
    fn covers(&self, network: &NetworkId) -> bool {
        match self {
            Self::All => true,
            Self::Networks(networks) => networks.contains(network),
        }
    }
}

/// What a run of the flow came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Whose health changed, by network.
    pub flips: Vec<(NetworkId, Flip)>,
    /// Networks whose own nodes all failed and must be asked again after `health.confirm_after`.
    pub unconfirmed: BTreeSet<NetworkId>,
    /// Networks where another run stored a tick meanwhile, so that what this one learned was dropped.
    pub overtaken: BTreeSet<NetworkId>,
    /// Whether nobody at all answered, so that the fault is the prober's own.
    pub is_blind: bool,
    /// Nodes whose answers this program had no time to see, which says nothing about them.
    pub starved: usize,
    /// The node list, with the items that are not usable.
    pub listed: Listed,
    /// The health of each network that was probed, as it is stored now.
    pub health: BTreeMap<NetworkId, Health>,
    /// Networks whose result could not be stored, and why; the next run repeats them.
    pub failed: Vec<(NetworkId, StoreError)>,
}

/// Runs the flow once. Fails only when the node list or health cannot be read at all.
pub async fn run<S: FleetStore, P: Prober>(
    store: &S,
    prober: &P,
    config: &Config,
    scope: &Scope,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let listed = listing::complete(store, config).await?;
    let health = store.health().await?;
    let unknown = Health::default();
    let before = |network: &NetworkId| health.get(network).unwrap_or(&unknown);

    let nodes = listed.nodes.iter().filter(|node| scope.covers(&node.network));
    let asked: Vec<_> = nodes.map(|node| ask(prober, node, before(&node.network), now)).collect();
    let observed: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await;
    let mut observations: BTreeMap<&NetworkId, BTreeMap<NodeName, Observation>> = BTreeMap::new();
    for (node, observation) in observed {
        observations.entry(&node.network).or_default().insert(node.name.clone(), observation);
    }

    let is_blind = *scope == Scope::All && is_blind(observations.values().flat_map(BTreeMap::values));
    let outcomes = observations.values().flat_map(BTreeMap::values).map(|observation| &observation.outcome);
    let starved = outcomes.filter(|outcome| **outcome == Err(Failure::Starved)).count();
    let mut report = Report { is_blind, starved, ..Report::default() };
    let none = BTreeMap::new();
    for (id, network) in config.networks.iter().filter(|(id, _)| scope.covers(id)) {
        let nodes: Vec<&Node> = listed.of(id).collect();
        let before = before(id);
        let judged = if is_blind {
            Judged { health: stale(before, now), changed: Vec::new(), flips: Vec::new(), unconfirmed: false }
        } else {
            let seen = observations.get(id).unwrap_or(&none);
            judge(network, config.health.confirm_after, &nodes, before, seen, now)
        };
        match keep(store, id, &listed, before, &judged, now).await {
            Ok(Written::Lost) => drop(report.overtaken.insert(id.clone())),
            Ok(Written::Done) => {
                if judged.unconfirmed {
                    report.unconfirmed.insert(id.clone());
                }
                report.flips.extend(judged.flips.into_iter().map(|flip| (id.clone(), flip)));
                report.health.insert(id.clone(), judged.health);
            }
            Err(error) => report.failed.push((id.clone(), error)),
        }
    }
    report.listed = listed;
    Ok(report)
}

/// Networks with a node that was never judged at its present address: new or edited, and to be probed at once.
pub async fn unjudged<S: FleetStore>(store: &S, config: &Config) -> Result<BTreeSet<NetworkId>, StoreError> {
    let listed = listing::read(store, config).await?;
    let health = store.health().await?;
    let is_unjudged = |node: &&Node| health.get(&node.network).is_none_or(|health| health.of(node).is_none());
    Ok(listed.nodes.iter().filter(is_unjudged).map(|node| node.network.clone()).collect())
}

async fn ask<'a, P: Prober>(prober: &P, node: &'a Node, before: &Health, now: Timestamp) -> (&'a Node, Observation) {
    let chain_checked = before.seen.nodes.get(&node.name).and_then(|seen| seen.chain_checked);
    let ask_chain = asks_chain(node, before.of(node), chain_checked, now);
    (node, prober.probe(node, ask_chain).await)
}

/// Stores what a tick concluded about one network.
async fn keep<S: FleetStore>(
    store: &S,
    network: &NetworkId,
    listed: &Listed,
    before: &Health,
    judged: &Judged,
    now: Timestamp,
) -> Result<Written, StoreError> {
    if store.put_seen(network, before.seen.tick, &judged.health.seen).await? == Written::Lost {
        return Ok(Written::Lost);
    }
    let names: BTreeSet<&NodeName> = listed.of(network).map(|node| &node.name).collect();
    let changed = judged.changed.iter().map(|name| (name, judged.health.statuses.get(name)));
    let gone = before.statuses.keys().filter(|name| !names.contains(name)).map(|name| (name, None));
    // A lost race over one node leaves the others; the next tick judges it again.
    let writes: Vec<_> = changed
        .chain(gone)
        .map(|(name, status)| store.put_status(network, name, before.statuses.get(name), status))
        .collect();
    stream::iter(writes).buffer_unordered(WRITTEN_AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
    let event = |flip: &Flip| Event {
        at: now,
        who: "probe".to_owned(),
        kind: "flip".to_owned(),
        network: Some(network.to_string()),
        node: Some(flip.node.to_string()),
        what: match flip.why.as_str() {
            "" => format!("{} -> {}", flip.from, flip.to),
            why => format!("{} -> {}: {why}", flip.from, flip.to),
        },
    };
    let events: Vec<Event> = judged.flips.iter().map(event).collect();
    store.record_events(&events).await?;
    Ok(Written::Done)
}
