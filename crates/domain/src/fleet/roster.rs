//! Who shall receive a network's traffic. Only this module decides membership.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fleet::judge::{Health, Reason, State};
use crate::fleet::node::{Address, Node, Role};
use crate::name::{NetworkId, NodeName};

/// One server of a roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node's short name.
    pub name: NodeName,
    /// Share of the traffic relative to the others, 1 to 100.
    pub weight: u16,
    /// Where it is.
    pub address: Address,
}

impl From<&Node> for Member {
    fn from(node: &Node) -> Self {
        Self { name: node.name.clone(), weight: node.weight, address: node.address.clone() }
    }
}

/// By which rule a roster came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Healthy, uncordoned own nodes.
    Nodes,
    /// No own node is left: the leader serves alone.
    Leader,
    /// The leader is down too: nodes that at least answer, least lag first.
    Answering,
    /// Nothing answers: the previous roster, less what must not be in it.
    CarriedOver,
    /// Nobody is left: the network answers 503.
    Nobody,
}

/// The nodes that shall receive a network's traffic now, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The rule it came by.
    pub source: Source,
    /// Who gets the traffic, in order; empty only for [`Source::Nobody`].
    pub members: Vec<Member>,
    /// Who gets a request that the members failed; never one of them.
    pub fallback: Option<Member>,
}

/// A roster for every network of the configuration.
pub type Rosters = BTreeMap<NetworkId, Roster>;

impl Roster {
    /// Everyone a request may reach, fallback last.
    pub fn everyone(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.fallback)
    }
}

/// Whether `node` may stand in a roster at all, whatever its health.
pub fn is_eligible(node: &Node, health: &Health, now: Timestamp) -> bool {
    !node.is_cordoned(now) && !health.is_on_wrong_chain(node)
}

/// Decides a network's roster. `nodes` are all of its nodes by name, leader included; `previous` is what was
/// published last; `max_lag_blocks` groups nodes that are equally far behind when none is healthy.
pub fn decide(
    nodes: &[&Node],
    health: &Health,
    previous: Option<&Roster>,
    max_lag_blocks: u64,
    now: Timestamp,
) -> Roster {
    let eligible = || nodes.iter().copied().filter(|node| is_eligible(node, health, now));
    let leader = eligible().find(|node| node.role == Role::Leader);
    let roster = |source, members: Vec<Member>| {
        let fallback =
            leader.filter(|leader| members.iter().all(|member| member.name != leader.name)).map(Member::from);
        Roster { source, members, fallback }
    };
    let healthy: Vec<Member> = eligible()
        .filter(|node| node.role == Role::Node && health.state(node) == State::Healthy)
        .map(Member::from)
        .collect();
    if !healthy.is_empty() {
        return roster(Source::Nodes, healthy);
    }
    // Unknown too: before the first probe the configuration's leader is the best there is.
    if let Some(leader) = leader.filter(|leader| health.state(leader) != State::Unhealthy) {
        return roster(Source::Leader, vec![leader.into()]);
    }
    let answering = answering(eligible(), health, max_lag_blocks);
    if !answering.is_empty() {
        return roster(Source::Answering, answering);
    }
    let carried: Vec<Member> = previous
        .into_iter()
        .flat_map(|roster| &roster.members)
        .filter_map(|member| still(member, eligible()))
        .collect();
    if !carried.is_empty() {
        return roster(Source::CarriedOver, carried);
    }
    match leader {
        // Down, but the only one there is to try.
        Some(leader) => roster(Source::Leader, vec![leader.into()]),
        None => roster(Source::Nobody, Vec::new()),
    }
}

/// The nodes that answered the last probe and are the least behind, within `max_lag_blocks` of each other, so that a
/// client does not see the head jump back and forth. One whose head nobody believes comes only if it is alone.
fn answering<'a>(eligible: impl Iterator<Item = &'a Node>, health: &Health, max_lag_blocks: u64) -> Vec<Member> {
    let implausible = |node: &Node| {
        matches!(health.of(node).and_then(|status| status.reason.as_ref()), Some(Reason::Implausible { .. }))
    };
    let heads: Vec<(bool, u64, &Node)> = eligible
        .filter(|node| health.state(node) == State::Unhealthy)
        .filter_map(|node| Some((implausible(node), health.seen.nodes.get(&node.name)?.head?, node)))
        .collect();
    let Some(best) = heads.iter().map(|(implausible, head, _)| (!implausible, *head)).max() else { return Vec::new() };
    heads
        .into_iter()
        .filter(|(implausible, head, _)| *implausible != best.0 && best.1 - head <= max_lag_blocks)
        .map(|(_, _, node)| node.into())
        .collect()
}

/// `member` as its node is written now, if it is still there at the same address.
fn still<'a>(member: &Member, mut eligible: impl Iterator<Item = &'a Node>) -> Option<Member> {
    eligible.find(|node| node.name == member.name && node.address == member.address).map(Member::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::judge::{NodeSeen, Status};
    use crate::fleet::node::Cordon;
    use crate::fleet::probe::Failure;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn node(name: &str) -> Node {
        let role = if name == "leader" { Role::Leader } else { Role::Node };
        let address = Address { url: format!("http://{name}:1").parse().unwrap(), ws_url: None, host: None };
        Node {
            network: "ethereum".parse().unwrap(),
            name: name.parse().unwrap(),
            role,
            weight: 1,
            address,
            cordon: None,
        }
    }

    fn wrong() -> Reason {
        Reason::WrongChain { expected: 1, found: 2 }
    }

    fn lag() -> Reason {
        Reason::Lag { behind: 20, allowed: 10 }
    }

    fn dead() -> Reason {
        Reason::Failed(Failure::Timeout)
    }

    /// Each node with why it is not healthy, and the head it answered with.
    fn health(of: &[(&Node, Option<Reason>, Option<u64>)]) -> Health {
        let mut health = Health::default();
        for (node, reason, head) in of {
            let state = if reason.is_some() { State::Unhealthy } else { State::Healthy };
            let status = Status { address: node.address.clone(), state, reason: reason.clone(), since: NOW };
            health.statuses.insert(node.name.clone(), status);
            health.seen.nodes.insert(node.name.clone(), NodeSeen { head: *head, ..NodeSeen::default() });
        }
        health
    }

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    fn outcome(roster: &Roster) -> (Source, Vec<&str>, Option<&str>) {
        (roster.source, names(&roster.members), roster.fallback.as_ref().map(|member| member.name.as_str()))
    }

    #[test]
    fn healthy_uncordoned_nodes_serve_and_the_leader_falls_back_even_when_it_is_down() {
        let (a, mut b, leader) = (node("a"), node("b"), node("leader"));
        b.cordon = Some(Cordon { by: "me".into(), why: String::new(), at: NOW, until: None });
        let health = health(&[(&a, None, Some(1)), (&b, None, Some(1)), (&leader, Some(dead()), None)]);
        let roster = decide(&[&a, &b, &leader], &health, None, 10, NOW);
        assert_eq!(outcome(&roster), (Source::Nodes, vec!["a"], Some("leader")));
    }

    #[test]
    fn a_cordon_ends_when_it_says() {
        let (mut a, leader) = (node("a"), node("leader"));
        a.cordon = Some(Cordon { by: "me".into(), why: String::new(), at: NOW, until: Some(NOW) });
        let health = health(&[(&a, None, Some(1))]);
        assert_eq!(outcome(&decide(&[&a, &leader], &health, None, 10, NOW)).0, Source::Nodes);
        let before = NOW - std::time::Duration::from_secs(1);
        assert_eq!(outcome(&decide(&[&a, &leader], &health, None, 10, before)).0, Source::Leader);
    }

    #[test]
    fn a_leader_on_a_wrong_chain_or_cordoned_is_never_in() {
        let (a, mut leader) = (node("a"), node("leader"));
        let wrong_leader = health(&[(&a, None, Some(1)), (&leader, Some(wrong()), None)]);
        assert_eq!(outcome(&decide(&[&a, &leader], &wrong_leader, None, 10, NOW)), (Source::Nodes, vec!["a"], None));
        leader.cordon = Some(Cordon { by: "me".into(), why: String::new(), at: NOW, until: None });
        let down = health(&[(&a, Some(dead()), None)]);
        assert_eq!(outcome(&decide(&[&a, &leader], &down, None, 10, NOW)), (Source::Nobody, vec![], None));
    }

    #[test]
    fn before_any_probe_the_leader_serves() {
        let (a, leader) = (node("a"), node("leader"));
        let roster = decide(&[&a, &leader], &Health::default(), None, 10, NOW);
        assert_eq!(outcome(&roster), (Source::Leader, vec!["leader"], None));
    }

    #[test]
    fn with_the_leader_down_those_that_answer_serve_least_lag_first() {
        let (a, b, c, leader) = (node("a"), node("b"), node("c"), node("leader"));
        let down = (&leader, Some(dead()), None);
        let of = |reasons: [(Option<Reason>, Option<u64>); 3]| {
            let [of_a, of_b, of_c] = reasons;
            let health = health(&[(&a, of_a.0, of_a.1), (&b, of_b.0, of_b.1), (&c, of_c.0, of_c.1), down.clone()]);
            let roster = decide(&[&a, &b, &c, &leader], &health, None, 10, NOW);
            assert_eq!(roster.source, Source::Answering);
            assert_eq!(roster.fallback.map(|m| m.name.to_string()), Some("leader".to_owned()));
            roster.members.iter().map(|m| m.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of([(Some(lag()), Some(70)), (Some(lag()), Some(80)), (Some(lag()), Some(60))]), ["a", "b"]);
        let lies = Some(Reason::Implausible { ahead: 900 });
        assert_eq!(of([(Some(lag()), Some(70)), (lies.clone(), Some(1000)), (Some(wrong()), Some(80))]), ["a"]);
        assert_eq!(of([(Some(dead()), None), (lies, Some(1000)), (Some(dead()), None)]), ["b"]);
    }

    #[test]
    fn when_nothing_answers_the_previous_roster_stays_less_what_may_not_be_in_it() {
        let (a, mut b, mut c, d, leader) = (node("a"), node("b"), node("c"), node("d"), node("leader"));
        let previous =
            Roster { source: Source::Nodes, members: [&a, &b, &c, &d].map(Member::from).to_vec(), fallback: None };
        b.cordon = Some(Cordon { by: "me".into(), why: String::new(), at: NOW, until: None });
        c.address.url = "http://elsewhere:1".parse().unwrap();
        let down = health(&[(&a, Some(dead()), None), (&d, Some(wrong()), None), (&leader, Some(dead()), None)]);
        let roster = decide(&[&a, &b, &c, &d, &leader], &down, Some(&previous), 10, NOW);
        assert_eq!(outcome(&roster), (Source::CarriedOver, vec!["a"], Some("leader")));
        let roster = decide(&[&b, &leader], &down, Some(&previous), 10, NOW);
        assert_eq!(outcome(&roster), (Source::Leader, vec!["leader"], None), "down, but the only one to try");
    }
}
