//! From what probes saw to who is healthy. Only this module decides health.

mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Network;
use crate::fleet::node::{Address, Node, Role};
use crate::fleet::probe::{Failure, Observation};
use crate::name::NodeName;
use crate::text::{counted, since};

pub use reference::{Reference, Witness, reference};

/// What the judge concluded about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Never judged at its present address; gets no traffic.
    Unknown,
    /// Gets traffic.
    Healthy,
    /// Gets none.
    Unhealthy,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// Why a node is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It does not answer.
    Failed(Failure),
    /// It answers for another chain.
    WrongChain {
        /// The network's chain id.
        expected: u64,
        /// The node's.
        found: u64,
    },
    /// It is too far behind the reference head.
    Lag {
        /// Blocks behind.
        behind: u64,
        /// Blocks allowed.
        allowed: u64,
    },
    /// Its head is far ahead of everyone else's, and nobody seconds it.
    Implausible {
        /// Blocks ahead of the next.
        ahead: u64,
    },
}

impl Reason {
    /// Whether a person would act differently on `other`: numbers may differ, the kind may not.
    pub fn is_same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed(a), Self::Failed(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::WrongChain { expected, found } => write!(f, "chain id is {found}, the network's is {expected}"),
            Self::Lag { behind, allowed } => write!(f, "{} behind, {allowed} allowed", counted(*behind, "block")),
            Self::Implausible { ahead } => {
                write!(f, "{} ahead of everyone else, and nobody seconds it", counted(*ahead, "block"))
            }
        }
    }
}

/// A node's health, written only when something a person would act on changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where the node was when it was judged; at another address it is unknown again.
    pub address: Address,
    /// The conclusion.
    pub state: State,
    /// Why it is not healthy.
    pub reason: Option<Reason>,
    /// Since when the state holds.
    pub since: Timestamp,
}

/// What the last tick saw of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeSeen {
    /// Its head, if it answered.
    pub head: Option<u64>,
    /// Blocks behind the reference, if both are known.
    pub lag: Option<u64>,
    /// Milliseconds its answer took.
    pub latency_ms: u64,
    /// What is wrong with it at this tick, in words.
    pub fault: Option<String>,
    /// Successes in a row.
    pub good: u32,
    /// Failures in a row.
    pub bad: u32,
    /// When its chain id was last seen to be right.
    pub chain_checked: Option<Timestamp>,
}

/// What the last tick saw of one network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub tick: Option<Timestamp>,
    /// The head that nodes are compared with.
    pub reference: Option<Reference>,
    /// Since when all own nodes fail and a second round has yet to confirm it.
    pub suspect_since: Option<Timestamp>,
    /// Since when the prober itself sees nothing at all, so that nothing here is news.
    pub stale_since: Option<Timestamp>,
    /// Each node.
    pub nodes: BTreeMap<NodeName, NodeSeen>,
}

/// All that is known of a network's health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Each node that was ever judged.
    pub statuses: BTreeMap<NodeName, Status>,
    /// The last tick.
    pub seen: Seen,
}

impl Health {
    /// The status of `node`, unless it was judged at another address.
    pub fn of(&self, node: &Node) -> Option<&Status> {
        self.statuses.get(&node.name).filter(|status| status.address == node.address)
    }

    /// The state of `node` at its present address.
    pub fn state(&self, node: &Node) -> State {
        self.of(node).map_or(State::Unknown, |status| status.state)
    }

    /// Whether `node` was found on a wrong chain at its present address.
    pub fn is_on_wrong_chain(&self, node: &Node) -> bool {
        self.of(node).is_some_and(|status| matches!(status.reason, Some(Reason::WrongChain { .. })))
    }
}

/// A change of somebody's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// Whose.
    pub node: NodeName,
    /// From what.
    pub from: State,
    /// To what.
    pub to: State,
    /// Why, in words; empty for a recovery.
    pub why: String,
}

/// What one tick comes to for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The new health of all nodes.
    pub health: Health,
    /// Nodes whose status is to be written.
    pub changed: Vec<NodeName>,
    /// Whose state changed.
    pub flips: Vec<Flip>,
    /// Whether all own nodes failed and a second round, `confirm_after` from now, must confirm it.
    pub unconfirmed: bool,
}

/// What one node's observation means, before streaks.
enum Finding {
    Good,
    Bad(Reason),
    /// On a wrong chain: no streak is needed.
    Wrong(Reason),
    /// It answers, but nobody can say whether it is in step; or it was not asked.
    Neutral,
}

/// Whether the prober itself is blind: it asked, and nobody at all answered.
pub fn is_blind<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> bool {
    let mut any = false;
    observations.into_iter().all(|observation| {
        any = true;
        observation.outcome.is_err()
    }) && any
}

/// The health of a network when the prober is blind: nothing flips, and the time since when is kept.
pub fn stale(before: &Health, now: Timestamp) -> Health {
    let mut health = before.clone();
    health.seen.tick = Some(now);
    health.seen.stale_since = before.seen.stale_since.or(Some(now));
    health
}

/// Judges one network after a tick. `nodes` are all of its nodes, the leader included; a node without an observation
/// at its present address keeps its state. `confirm_after` is the time between the two rounds that must both see all
/// own nodes fail before they flip together.
pub fn judge(
    network: &Network,
    confirm_after: std::time::Duration,
    nodes: &[&Node],
    before: &Health,
    observations: &BTreeMap<NodeName, Observation>,
    now: Timestamp,
) -> Judged {
    let observed = |node: &Node| observations.get(&node.name).filter(|seen| seen.address == node.address);
    let (own, leader): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.role == Role::Node);
    let wrong_chain = |node: &Node, observation: &Observation| match observation.outcome.as_ref().ok()?.chain_id {
        Some(found) => (found != network.chain_id).then_some(Reason::WrongChain { expected: network.chain_id, found }),
        None => before
            .of(node)
            .and_then(|status| status.reason.clone())
            .filter(|reason| matches!(reason, Reason::WrongChain { .. })),
    };
    let head = |node: &Node| {
        let observation = observed(node)?;
        let answer = observation.outcome.as_ref().ok()?;
        wrong_chain(node, observation).is_none().then_some(answer.head)
    };
    let own_heads: Vec<u64> = own.iter().filter_map(|node| head(node)).collect();
    let leader_head = leader.iter().find_map(|node| head(node));
    let reference = reference(leader_head, &own_heads, network.max_lag_blocks);
    let mut everyone: Vec<(&NodeName, u64)> = nodes.iter().filter_map(|node| Some((&node.name, head(node)?))).collect();
    everyone.sort_unstable_by_key(|(_, head)| std::cmp::Reverse(*head));

    let find = |node: &Node| {
        let Some(observation) = observed(node) else { return Finding::Neutral };
        if let Some(reason) = wrong_chain(node, observation) {
            return Finding::Wrong(reason);
        }
        let head = match &observation.outcome {
            Ok(answer) => answer.head,
            Err(Failure::Starved) => return Finding::Neutral,
            Err(failure) => return Finding::Bad(Reason::Failed(failure.clone())),
        };
        // The leader is exempt: own nodes that all sync from far behind look just like a leader that lies ahead, and
        // believing them would send traffic to nodes that are hours old.
        let others = everyone.iter().find(|(name, _)| **name != node.name).map(|(_, head)| *head);
        if let Some(ahead) = others.filter(|_| node.role == Role::Node).map(|next| head.saturating_sub(next))
            && ahead > network.max_lag_blocks.max(1).saturating_mul(10)
        {
            return Finding::Bad(Reason::Implausible { ahead });
        }
        match reference.map(|reference| reference.head.saturating_sub(head)) {
            None => Finding::Neutral,
            Some(behind) if behind <= network.max_lag_blocks => Finding::Good,
            Some(behind) => Finding::Bad(Reason::Lag { behind, allowed: network.max_lag_blocks }),
        }
    };
    let findings: Vec<(&Node, Finding)> = nodes.iter().map(|node| (*node, find(node))).collect();

    let would_fall = |node: &Node| {
        before.state(node) == State::Healthy && streaks(before, node).1.saturating_add(1) >= network.fall.get()
    };
    let own_findings = || findings.iter().filter(|(node, _)| node.role == Role::Node);
    let all_fail = own_findings().all(|(_, finding)| matches!(finding, Finding::Bad(_) | Finding::Wrong(_)))
        && own_findings().any(|(node, finding)| matches!(finding, Finding::Bad(_)) && would_fall(node));
    // A time in the future is of a clock that was set back; counting starts anew.
    let suspect_since = all_fail.then(|| before.seen.suspect_since.filter(|then| *then <= now).unwrap_or(now));
    let unconfirmed = suspect_since.is_some_and(|then| since(then, now) < confirm_after);

    let mut judged = Judged {
        health: Health { statuses: BTreeMap::new(), seen: Seen { tick: Some(now), reference, ..Seen::default() } },
        changed: Vec::new(),
        flips: Vec::new(),
        unconfirmed,
    };
    judged.health.seen.suspect_since = suspect_since.filter(|_| unconfirmed);
    for (node, finding) in findings {
        let held = unconfirmed && node.role == Role::Node && matches!(finding, Finding::Bad(_));
        conclude(network, node, &finding, held, before, observed(node), now, &mut judged);
    }
    judged
}

/// Successes and failures in a row of `node` at its present address.
fn streaks(before: &Health, node: &Node) -> (u32, u32) {
    match (before.of(node), before.seen.nodes.get(&node.name)) {
        (Some(_), Some(seen)) => (seen.good, seen.bad),
        _ => (0, 0),
    }
}

/// Adds one node's finding to its streaks, decides its state and notes all of it in `judged`.
#[expect(clippy::too_many_arguments, reason = "one step of `judge`, apart only to be read apart")]
fn conclude(
    network: &Network,
    node: &Node,
    finding: &Finding,
    held: bool,
    before: &Health,
    observation: Option<&Observation>,
    now: Timestamp,
    judged: &mut Judged,
) {
    let known = before.of(node);
    let from = before.state(node);
    let (good, bad) = streaks(before, node);
    let (good, bad) = match finding {
        _ if held => (good, bad),
        Finding::Good => (good.saturating_add(1), 0),
        Finding::Bad(_) | Finding::Wrong(_) => (0, bad.saturating_add(1)),
        Finding::Neutral => (good, bad),
    };
    let (to, reason) = match finding {
        Finding::Wrong(reason) => (State::Unhealthy, Some(reason.clone())),
        Finding::Bad(reason) if !held && (from != State::Healthy || bad >= network.fall.get()) => {
            (State::Unhealthy, Some(reason.clone()))
        }
        Finding::Good if from == State::Unknown || good >= network.rise.get() => (State::Healthy, None),
        // Not yet enough in a row, or no news: as it was.
        _ => (from, known.and_then(|status| status.reason.clone())),
    };
    let same_reason = match (known.and_then(|status| status.reason.as_ref()), &reason) {
        (None, None) => true,
        (Some(was), Some(is)) => was.is_same_kind(is),
        _ => false,
    };
    let since = known.filter(|_| from == to).map_or(now, |status| status.since);
    if to != State::Unknown {
        // Numbers inside an unchanged reason stay as they were written; today's stand in `seen`.
        let kept = known.filter(|status| status.state == to && same_reason).cloned();
        if kept.is_none() {
            judged.changed.push(node.name.clone());
        }
        let status =
            kept.unwrap_or_else(|| Status { address: node.address.clone(), state: to, reason: reason.clone(), since });
        judged.health.statuses.insert(node.name.clone(), status);
    }
    if from != to {
        let why = reason.map(|reason| reason.to_string()).unwrap_or_default();
        judged.flips.push(Flip { node: node.name.clone(), from, to, why });
    }
    judged.health.seen.nodes.insert(
        node.name.clone(),
        see(node, finding, (good, bad), before, observation, judged.health.seen.reference, now),
    );
}

fn see(
    node: &Node,
    finding: &Finding,
    (good, bad): (u32, u32),
    before: &Health,
    observation: Option<&Observation>,
    reference: Option<Reference>,
    now: Timestamp,
) -> NodeSeen {
    let earlier = before.of(node).and_then(|_| before.seen.nodes.get(&node.name)).cloned().unwrap_or_default();
    let Some(observation) = observation else { return NodeSeen { good, bad, ..earlier } };
    let answer = observation.outcome.as_ref().ok();
    let head = answer.map(|answer| answer.head);
    let right_chain = answer.is_some_and(|answer| answer.chain_id.is_some()) && !matches!(finding, Finding::Wrong(_));
    NodeSeen {
        head,
        lag: head.zip(reference).map(|(head, reference)| reference.head.saturating_sub(head)),
        latency_ms: u64::try_from(observation.latency.as_millis()).unwrap_or(u64::MAX),
        fault: match finding {
            Finding::Bad(reason) | Finding::Wrong(reason) => Some(reason.to_string()),
            Finding::Good | Finding::Neutral => None,
        },
        good,
        bad,
        chain_checked: if right_chain { Some(now) } else { earlier.chain_checked },
    }
}
