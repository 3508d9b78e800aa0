//! The state of the whole fleet, gathered for `status`, the live table of `up` and JSON.

mod runs;
mod show;

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_control::edges::PublishedObject;
use nodeweir_control::listing;
use nodeweir_domain::fleet::judge::{Health, Reference, State};
use nodeweir_domain::fleet::node::{Cordon, Node, Rejected, Role};
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::fleet::roster::{Roster, Source};
use nodeweir_domain::name::{NetworkId, NodeName, StageName};
use nodeweir_domain::text::{show_duration, since};
use nodeweir_store::FleetStore;
use serde::Serialize;

use crate::context::Context;
use crate::place::Runs;
use runs::Running;

/// Everything that a person asks about.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) addresses: Vec<String>,
    /// The stage on AWS, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<StageName>,
    /// Whether `nodeweir up` runs on this state; of a stage, whether its nodes are watched.
    pub(crate) is_up: bool,
    pub(crate) networks: Vec<NetworkReport>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) published: Option<Published>,
    /// What is known of what runs.
    pub(crate) runtime: Option<Running>,
    pub(crate) pin: Option<Pin>,
    /// What is going on and no reason to worry, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// What a person should look at, in words. Empty means that all is well.
    pub(crate) problems: Vec<String>,
}

/// One network.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkReport {
    pub(crate) network: NetworkId,
    pub(crate) source: Option<Source>,
    pub(crate) reference: Option<Reference>,
    pub(crate) last_tick: Option<Timestamp>,
    pub(crate) stale_since: Option<Timestamp>,
    pub(crate) nodes: Vec<NodeReport>,
}

/// One node.
#[derive(Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) node: NodeName,
    pub(crate) role: Role,
    pub(crate) url: String,
    pub(crate) weight: u16,
    pub(crate) state: State,
    pub(crate) since: Option<Timestamp>,
    /// Why it is not healthy, or what was wrong at the last tick.
    pub(crate) why: Option<String>,
    pub(crate) head: Option<u64>,
    pub(crate) lag: Option<u64>,
    pub(crate) latency_ms: Option<u64>,
    pub(crate) cordon: Option<Cordon>,
    /// What it does in the published roster: `serves`, `fallback` or nothing.
    pub(crate) serves: Option<&'static str>,
}

/// The published revision.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) at: Timestamp,
    pub(crate) reason: String,
}

/// Gathers everything.
pub(crate) async fn gather<S: FleetStore, O: PublishedObject>(
    context: &Context,
    store: &S,
    object: &O,
    runs: Runs,
    now: Timestamp,
) -> Result<Report> {
    let listed = listing::read(store, &context.config).await?;
    let health = store.health().await?;
    let pin = store.pin().await?;
    let text = object.get().await?.map(|(_, text)| text);
    let revision = text.as_deref().map(Revision::parse);
    let mut problems = Vec::new();
    let unknown = Health::default();
    let mut networks = Vec::new();
    for id in context.config.networks.keys() {
        let health = health.get(id).unwrap_or(&unknown);
        let roster = revision.as_ref().and_then(|revision| revision.as_ref().ok()?.rosters.get(id));
        let nodes: Vec<&Node> = listed.of(id).collect();
        let own = nodes.iter().filter(|node| node.role == Role::Node).count();
        judge_network(id, own, health, roster, now, &mut problems);
        let nodes: Vec<NodeReport> = nodes.iter().map(|node| describe(node, health, roster)).collect();
        problems.extend(nodes.iter().filter_map(|node| node_problem(id, node, now)));
        let seen = &health.seen;
        let source = roster.map(|roster| roster.source);
        networks.push(NetworkReport {
            network: id.clone(),
            source,
            reference: seen.reference,
            last_tick: seen.tick,
            stale_since: seen.stale_since,
            nodes,
        });
    }
    problems.extend(
        listed.rejected.iter().map(|item| format!("{}/{} is not usable: {}", item.network, item.node, item.why)),
    );
    let published = match revision {
        Some(Ok(revision)) => Some(Published { name: revision.name(), at: revision.at, reason: revision.reason }),
        Some(Err(error)) => {
            problems.push(format!("what is published cannot be run: {error}"));
            None
        }
        None => None,
    };
    let kept = match runs {
        Runs::Up { is_up, runtime } => runs::of_up(is_up, runtime, published.as_ref()),
        Runs::Stage { name, service } => {
            let ticks = networks.iter().map(|network| (&network.network, network.last_tick)).collect();
            runs::of_stage(&name, service, ticks, published.as_ref(), &context.config, now)
        }
    };
    problems.extend(kept.problems);
    if let Some(pin) = &pin {
        let left = show_duration(since(now, pin.until));
        problems.push(format!(
            "rolled back to revision {} by {}; ends in {left}, or by {}",
            pin.revision, pin.by, kept.release
        ));
    }
    Ok(Report {
        addresses: match (&kept.stage, &context.demo_address) {
            (Some(_), _) => context.stage_addresses(),
            (None, Some(address)) => vec![address.clone()],
            (None, None) => context.addresses(),
        },
        stage: kept.stage,
        is_up: kept.is_up,
        networks,
        rejected: listed.rejected,
        published,
        runtime: kept.running,
        pin,
        notes: kept.notes,
        problems,
    })
}

fn judge_network(
    id: &NetworkId,
    own: usize,
    health: &Health,
    roster: Option<&Roster>,
    now: Timestamp,
    problems: &mut Vec<String>,
) {
    if let Some(then) = health.seen.stale_since {
        let ago = show_duration(since(then, now));
        problems.push(format!("{id}: stale since {ago}: no probe of any network succeeds, so the fault is on this side; health is as it was"));
    }
    match roster.map(|roster| roster.source) {
        Some(Source::Leader) if own > 0 => problems.push(format!("{id}: no own node serves; the leader serves alone")),
        Some(Source::Answering) => problems.push(format!("{id}: nobody is healthy; nodes that merely answer serve")),
        Some(Source::CarriedOver) => problems.push(format!("{id}: nothing answers; the previous roster is kept")),
        Some(Source::Nobody) => problems.push(format!("{id}: nobody is left; requests are answered 503")),
        Some(Source::Nodes | Source::Leader) | None => {}
    }
}

fn node_problem(id: &NetworkId, node: &NodeReport, now: Timestamp) -> Option<String> {
    let ago = node.since.map_or(String::new(), |then| format!(" since {}", show_duration(since(then, now))));
    match node.state {
        State::Unhealthy if node.cordon.is_none() => {
            let why = node.why.as_deref().unwrap_or("recovering");
            Some(format!("{id}/{} is unhealthy{ago}: {why}", node.node))
        }
        _ => None,
    }
}

fn describe(node: &Node, health: &Health, roster: Option<&Roster>) -> NodeReport {
    let status = health.of(node);
    let seen = status.and_then(|_| health.seen.nodes.get(&node.name));
    let serves = roster.and_then(|roster| {
        if roster.members.iter().any(|member| member.name == node.name) {
            Some("serves")
        } else {
            roster.fallback.as_ref().filter(|member| member.name == node.name).map(|_| "fallback")
        }
    });
    // Today's numbers, where there are some, rather than those of the day it fell.
    let why = seen.and_then(|seen| seen.fault.clone()).or_else(|| status?.reason.as_ref().map(ToString::to_string));
    NodeReport {
        node: node.name.clone(),
        role: node.role,
        url: node.address.url.to_string(),
        weight: node.weight,
        state: health.state(node),
        since: status.map(|status| status.since),
        why,
        head: seen.and_then(|seen| seen.head),
        lag: seen.and_then(|seen| seen.lag),
        latency_ms: seen.filter(|seen| seen.head.is_some()).map(|seen| seen.latency_ms),
        cordon: node.cordon.clone(),
        serves,
    }
}
