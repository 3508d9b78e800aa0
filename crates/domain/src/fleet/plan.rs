//! What should be published, and why: a value that the publish flow carries out.

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::Config;
use crate::fleet::inspect::{Finding, Look, Severity, inspect};
use crate::fleet::judge::Health;
use crate::fleet::node::{Listed, Node};
use crate::fleet::pin::Pin;
use crate::fleet::render::render;
use crate::fleet::revision::Revision;
use crate::fleet::roster::{Roster, Rosters, Source, decide};
use crate::name::NetworkId;

/// Everything that decides what is published.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// Settings.
    pub config: &'a Config,
    /// The node list, as far as it is usable.
    pub listed: &'a Listed,
    /// Health by network; a network without any is judged to know nothing.
    pub health: &'a BTreeMap<NetworkId, Health>,
    /// The last revision that is known: what is published, or the newest of the history.
    pub published: Option<&'a Revision>,
    /// Whether it is what is published, unchanged and whole.
    pub is_intact: bool,
    /// A rollback in force.
    pub pin: Option<&'a Pin>,
    /// Now.
    pub now: Timestamp,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rosters that should be live.
    pub rosters: Rosters,
    /// Their text.
    pub body: String,
    /// What follows.
    pub step: Step,
    /// What there is to say about it, worst first.
    pub findings: Vec<Finding>,
    /// Why a pin that was in force no longer is; it is to be removed.
    pub released: Option<String>,
}

/// What follows from a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The published body is the wanted one.
    Nothing,
    /// Publish it.
    Publish {
        /// Why, for the revision's header, `history` and the log.
        reason: String,
    },
    /// Keep what is published; the findings say why.
    Refuse,
}

/// Decides the rosters, renders and inspects them, and compares with what is published.
pub fn plan(world: World<'_>) -> Plan {
    let released = world.pin.and_then(|pin| pin.released(world.config, world.listed, world.health, world.now));
    let pin = world.pin.filter(|_| released.is_none());
    let mut rosters = decide_all(world);
    for (network, pinned) in pin.into_iter().flat_map(|pin| &pin.rosters) {
        if let Some(roster) = rosters.get_mut(network) {
            roster.clone_from(pinned);
        }
    }
    let body = render(&rosters, world.config);
    let previous = world.published.map(|revision| &revision.rosters);
    let World { config, listed, health, now, .. } = world;
    let findings = inspect(Look { rosters: &rosters, body: &body, previous, config, listed, health, now });
    let step = if findings.iter().any(|finding| finding.severity == Severity::Forbid) {
        Step::Refuse
    } else if world.is_intact
        && world.published.is_some_and(|revision| revision.body == body && revision.proxy == config.proxy.kind)
    {
        Step::Nothing
    } else {
        Step::Publish { reason: reason(world, pin, released.as_deref(), &rosters) }
    };
    Plan { rosters, body, step, findings, released }
}

fn decide_all(world: World<'_>) -> Rosters {
    let unknown = Health::default();
    let mut nodes: BTreeMap<&NetworkId, Vec<&Node>> = BTreeMap::new();
    for node in &world.listed.nodes {
        nodes.entry(&node.network).or_default().push(node);
    }
    let decide_one = |(id, network): (&NetworkId, &crate::config::Network)| {
        let nodes = nodes.get(id).map_or(&[][..], Vec::as_slice);
        let health = world.health.get(id).unwrap_or(&unknown);
        let previous = world.published.and_then(|revision| revision.rosters.get(id));
        (id.clone(), decide(nodes, health, previous, network.max_lag_blocks, world.now))
    };
    world.config.networks.iter().map(decide_one).collect()
}

/// Why these rosters differ from the published ones, network by network.
fn reason(world: World<'_>, pin: Option<&Pin>, released: Option<&str>, next: &Rosters) -> String {
    let mut reasons = Vec::new();
    if let Some(why) = released {
        reasons.push(format!("rollback ended: {why}"));
    }
    let Some(published) = world.published else {
        reasons.push("first revision".to_owned());
        return reasons.join("; ");
    };
    if !world.is_intact {
        reasons.push("the published file is missing, cut off or was changed by hand".to_owned());
    }
    if let Some(pin) = pin {
        let why = if pin.why.is_empty() { String::new() } else { format!(" ({})", pin.why) };
        reasons.push(format!("rollback to revision {} by {}{why}", pin.revision, pin.by));
    }
    for (network, roster) in next {
        let changes = match published.rosters.get(network) {
            None => vec!["new network".to_owned()],
            Some(before) => changes(world, network, before, roster),
        };
        if !changes.is_empty() {
            reasons.push(format!("{network}: {}", changes.join(", ")));
        }
    }
    reasons.extend(
        published
            .rosters
            .keys()
            .filter(|id| !next.contains_key(id))
            .map(|id| format!("{id}: removed from the configuration")),
    );
    if reasons.is_empty() {
        reasons.push("settings changed".to_owned());
    }
    reasons.join("; ")
}

fn changes(world: World<'_>, network: &NetworkId, before: &Roster, after: &Roster) -> Vec<String> {
    let mut changes = Vec::new();
    let unknown = Health::default();
    let health = world.health.get(network).unwrap_or(&unknown);
    for member in &before.members {
        if after.members.iter().all(|now| now.name != member.name) {
            changes.push(format!("{} left ({})", member.name, why_out(world, network, health, member.name.as_str())));
        }
    }
    for member in &after.members {
        match before.members.iter().find(|then| then.name == member.name) {
            None => changes.push(format!("{} joined", member.name)),
            Some(then) if then.address != member.address => changes.push(format!("{} moved", member.name)),
            Some(then) if then.weight != member.weight => {
                changes.push(format!("{} weighs {}", member.name, member.weight))
            }
            Some(_) => {}
        }
    }
    if before.source != after.source {
        changes.push(match after.source {
            Source::Nodes => "own nodes serve".to_owned(),
            Source::Leader => "the leader serves alone".to_owned(),
            Source::Answering => "nobody is healthy, those that answer serve".to_owned(),
            Source::CarriedOver => "nothing answers".to_owned(),
            Source::Nobody => "nobody is left".to_owned(),
        });
    } else if before.fallback != after.fallback {
        changes.push(match &after.fallback {
            Some(member) => format!("{} is the fallback", member.name),
            None => "no fallback".to_owned(),
        });
    }
    changes
}

fn why_out(world: World<'_>, network: &NetworkId, health: &Health, name: &str) -> String {
    let Some(node) = world.listed.of(network).find(|node| node.name.as_str() == name) else {
        return "removed".to_owned();
    };
    if node.is_cordoned(world.now) {
        return "cordoned".to_owned();
    }
    match health.of(node) {
        None => "new address, not probed yet".to_owned(),
        Some(status) => status.reason.as_ref().map_or_else(|| "own nodes serve again".to_owned(), ToString::to_string),
    }
}
