//! The state of the whole fleet, gathered for `status`, the live table of `up` and JSON.

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_control::edges::PublishedObject;
use nodeweir_control::listing;
use nodeweir_domain::fleet::judge::{Health, Reference, State};
use nodeweir_domain::fleet::node::{Cordon, Node, Rejected, Role};
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::fleet::roster::{Roster, Source};
use nodeweir_domain::name::{NetworkId, NodeName};
use nodeweir_domain::text::{counted, show_duration, since};
use nodeweir_store::FleetStore;
use nodeweir_store::sqlite::Runtime;
use serde::Serialize;

use crate::context::Context;
use crate::output::{Output, Tone};

/// Everything that a person asks about.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) addresses: Vec<String>,
    /// Whether `nodeweir up` runs on this state.
    pub(crate) is_up: bool,
    pub(crate) networks: Vec<NetworkReport>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) published: Option<Published>,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) pin: Option<Pin>,
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
    runtime: Option<Runtime>,
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
    let is_up = context.is_up();
    let published = match revision {
        Some(Ok(revision)) => Some(Published { name: revision.name(), at: revision.at, reason: revision.reason }),
        Some(Err(error)) => {
            problems.push(format!("what is published cannot be run: {error}"));
            None
        }
        None => None,
    };
    judge_runtime(is_up, published.as_ref(), runtime.as_ref(), &mut problems);
    if let Some(pin) = &pin {
        let left = show_duration(since(now, pin.until));
        problems.push(format!(
            "rolled back to revision {} by {}; ends in {left}, or by `nodeweir rollback --release`",
            pin.revision, pin.by
        ));
    }
    Ok(Report {
        addresses: context.demo_address.clone().map_or_else(|| context.addresses(), |address| vec![address]),
        is_up,
        networks,
        rejected: listed.rejected,
        published,
        runtime,
        pin,
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

fn judge_runtime(is_up: bool, published: Option<&Published>, runtime: Option<&Runtime>, problems: &mut Vec<String>) {
    if !is_up {
        problems.push("`nodeweir up` does not run on this state: nothing is watched".to_owned());
        return;
    }
    let Some(runtime) = runtime else {
        problems.push("`nodeweir up` is starting: nothing is known of the proxy yet".to_owned());
        return;
    };
    if let Some((name, why)) = &runtime.rejected {
        problems.push(format!("revision {name} was rejected by the proxy's checker, the one before stays live: {why}"));
    } else if let Some(published) = published.filter(|published| runtime.running.as_ref() != Some(&published.name)) {
        let running = runtime.running.as_deref().unwrap_or("nothing");
        problems.push(format!("revision {} is published, the proxy runs {running}", published.name));
    }
    problems.extend(runtime.fault.clone());
    problems.extend(runtime.gate_fault.clone());
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

impl Report {
    /// The picture on a terminal.
    pub(crate) fn show(&self, output: Output, now: Timestamp) -> String {
        let mut lines = Vec::new();
        for address in &self.addresses {
            lines.push(address.clone());
        }
        let live = match (&self.published, &self.runtime) {
            (Some(published), Some(runtime)) if self.is_up && runtime.running.as_ref() == Some(&published.name) => {
                format!(
                    "revision {} is live since {} ({})",
                    published.name,
                    show_duration(since(published.at, now)),
                    published.reason
                )
            }
            (Some(published), _) => format!("revision {} is published ({})", published.name, published.reason),
            (None, _) => "no revision is published yet".to_owned(),
        };
        lines.push(output.tone(Tone::Faint, &live));
        lines.push(String::new());
        lines.push(self.nodes_table(output, now));
        lines.push(String::new());
        if self.problems.is_empty() {
            lines.push(output.tone(Tone::Good, "all is well"));
        } else {
            lines.push(output.tone(Tone::Bad, &counted(self.problems.len() as u64, "problem")));
            lines.extend(self.problems.iter().map(|problem| format!("  {problem}")));
        }
        lines.join("\n")
    }

    fn nodes_table(&self, output: Output, now: Timestamp) -> String {
        let header = ["NETWORK", "NODE", "STATE", "SINCE", "HEAD", "LAG", "LATENCY", "TRAFFIC", "WHY"];
        let rows =
            self.networks.iter().flat_map(|network| network.nodes.iter().map(|node| row(&network.network, node, now)));
        output.table(&header, rows.collect())
    }
}

fn row(network: &NetworkId, node: &NodeReport, now: Timestamp) -> Vec<(Tone, String)> {
    let dash = || "-".to_owned();
    let plain = |text: String| (Tone::Plain, text);
    let state = match (&node.cordon, node.state) {
        (Some(_), state) => (Tone::Odd, format!("{state}, cordoned")),
        (None, State::Healthy) => (Tone::Good, "healthy".to_owned()),
        (None, State::Unhealthy) => (Tone::Bad, "unhealthy".to_owned()),
        (None, State::Unknown) => (Tone::Odd, "unknown".to_owned()),
    };
    let traffic = match node.serves {
        Some("serves") if node.weight != 1 => (Tone::Good, format!("serves x{}", node.weight)),
        Some("serves") => (Tone::Good, "serves".to_owned()),
        Some(other) => (Tone::Plain, other.to_owned()),
        None => (Tone::Faint, dash()),
    };
    let cordon = node.cordon.as_ref().map(|cordon| {
        let until =
            cordon.until.map_or(String::new(), |until| format!(", ends in {}", show_duration(since(now, until))));
        let why = if cordon.why.is_empty() { String::new() } else { format!(": {}", cordon.why) };
        format!("cordoned by {}{until}{why}", cordon.by)
    });
    let why = [cordon, node.why.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    vec![
        plain(network.to_string()),
        plain(if node.role == Role::Leader { format!("{} (leader)", node.node) } else { node.node.to_string() }),
        state,
        plain(node.since.map_or_else(dash, |then| show_duration(since(then, now)))),
        plain(node.head.map_or_else(dash, |head| head.to_string())),
        plain(node.lag.map_or_else(dash, |lag| lag.to_string())),
        plain(node.latency_ms.map_or_else(dash, |ms| format!("{ms}ms"))),
        traffic,
        plain(why),
    ]
}
