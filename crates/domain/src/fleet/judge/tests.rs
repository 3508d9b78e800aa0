use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::fleet::probe::Answer;

const T0: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

fn node(name: &str) -> Node {
    let role = if name == "leader" { Role::Leader } else { Role::Node };
    let url = format!("http://{name}:8545").parse().unwrap();
    let address = Address { url, ws_url: None, host: None };
    Node { network: "ethereum".parse().unwrap(), name: name.parse().unwrap(), role, weight: 1, address, cordon: None }
}

/// A network, its nodes and their health, judged tick after tick.
struct Fleet {
    network: Network,
    nodes: Vec<Node>,
    health: Health,
    clock: u64,
}

const DOWN: Result<u64, Failure> = Err(Failure::Timeout);

impl Fleet {
    fn new(own: &[&str]) -> Self {
        let nodes: Vec<Node> = std::iter::once(&"leader").chain(own).map(|name| node(name)).collect();
        let one = NonZeroU32::MIN;
        let network = Network {
            chain_id: 1,
            leader: nodes[0].clone(),
            block_time: Duration::from_secs(12),
            max_lag_blocks: 10,
            fall: one,
            rise: one.saturating_add(1),
        };
        Self { network, nodes, health: Health::default(), clock: 0 }
    }

    /// One round 60 s after the last; each name with its head or failure.
    fn tick(&mut self, seen: &[(&str, Result<u64, Failure>)]) -> Judged {
        self.clock += 60;
        let seen: Vec<_> = seen.iter().map(|(name, head)| (*name, head.clone(), Some(1))).collect();
        self.round(&seen)
    }

    fn round(&mut self, seen: &[(&str, Result<u64, Failure>, Option<u64>)]) -> Judged {
        let observe = |(name, head, chain_id): &(&str, Result<u64, Failure>, Option<u64>)| {
            let node = self.nodes.iter().find(|node| node.name.as_str() == *name).unwrap();
            let outcome = head.clone().map(|head| Answer { head, chain_id: *chain_id });
            (
                node.name.clone(),
                Observation { address: node.address.clone(), latency: Duration::from_millis(5), outcome },
            )
        };
        let observations = seen.iter().map(observe).collect();
        let nodes: Vec<&Node> = self.nodes.iter().collect();
        let judged = judge(&self.network, Duration::from_secs(10), &nodes, &self.health, &observations, at(self.clock));
        self.health = judged.health.clone();
        judged
    }

    fn state(&self, name: &str) -> State {
        self.health.state(self.nodes.iter().find(|node| node.name.as_str() == name).unwrap())
    }

    fn reason(&self, name: &str) -> String {
        self.health.statuses[&name.parse().unwrap()].reason.as_ref().unwrap().to_string()
    }
}

use State::{Healthy, Unhealthy, Unknown};

#[test]
fn a_new_node_is_healthy_after_one_good_probe_and_a_recovered_one_after_two() {
    let mut fleet = Fleet::new(&["a", "b"]);
    assert_eq!(fleet.state("a"), Unknown);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(100))]);
    assert_eq!(fleet.state("a"), Healthy);
    fleet.tick(&[("leader", Ok(105)), ("a", DOWN), ("b", Ok(105))]);
    assert_eq!((fleet.state("a"), fleet.reason("a").as_str()), (Unhealthy, "no answer in time"));
    fleet.tick(&[("leader", Ok(110)), ("a", Ok(110)), ("b", Ok(110))]);
    assert_eq!(fleet.state("a"), Unhealthy, "once is luck");
    let judged = fleet.tick(&[("leader", Ok(115)), ("a", Ok(115)), ("b", Ok(115))]);
    assert_eq!(fleet.state("a"), Healthy);
    assert_eq!(judged.flips.len(), 1);
}

#[test]
fn lag_is_inclusive_and_says_its_numbers() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(110)), ("a", Ok(100)), ("b", Ok(99))]);
    assert_eq!((fleet.state("a"), fleet.state("b")), (Healthy, Unhealthy));
    assert_eq!(fleet.reason("b"), "11 blocks behind, 10 allowed");
}

#[test]
fn nothing_is_written_while_only_numbers_change() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(120)), ("a", Ok(120)), ("b", Ok(100))]);
    let judged = fleet.tick(&[("leader", Ok(130)), ("a", Ok(131)), ("b", Ok(101))]);
    assert_eq!((judged.changed, judged.flips), (vec![], vec![]));
    let judged = fleet.tick(&[("leader", Ok(130)), ("a", Ok(131)), ("b", DOWN)]);
    assert_eq!(judged.changed, ["b".parse().unwrap()], "another kind of fault is news");
    assert_eq!(judged.flips, [], "but no flip");
    assert_eq!(fleet.health.statuses[&"b".parse().unwrap()].since, at(60), "and no new beginning");
}

#[test]
fn a_wrong_chain_is_out_at_once_whatever_the_streak_and_stays_out() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.network.fall = NonZeroU32::new(5).unwrap();
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(100))]);
    fleet.clock += 60;
    fleet.round(&[("leader", Ok(100), None), ("a", Ok(100), Some(137)), ("b", Ok(100), Some(1))]);
    assert_eq!((fleet.state("a"), fleet.reason("a").as_str()), (Unhealthy, "chain id is 137, the network's is 1"));
    for _ in 0..3 {
        fleet.clock += 60;
        fleet.round(&[("leader", Ok(100), None), ("a", Ok(100), None), ("b", Ok(100), Some(1))]);
    }
    assert_eq!(fleet.state("a"), Unhealthy, "without a new answer about the chain nothing is forgiven");
}

#[test]
fn a_wrong_chain_is_no_witness() {
    let mut fleet = Fleet::new(&["a", "b", "c"]);
    fleet.clock = 60;
    fleet.round(&[
        ("leader", Ok(100), Some(1)),
        ("a", Ok(9000), Some(56)),
        ("b", Ok(9000), Some(56)),
        ("c", Ok(100), Some(1)),
    ]);
    assert_eq!((fleet.state("leader"), fleet.state("c")), (Healthy, Healthy));
}

#[test]
fn a_leader_that_lags_is_overruled_by_two_nodes_that_agree() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(111)), ("b", Ok(112))]);
    assert_eq!((fleet.state("a"), fleet.state("b"), fleet.state("leader")), (Healthy, Healthy, Unhealthy));
    assert_eq!(fleet.reason("leader"), "11 blocks behind, 10 allowed");
}

#[test]
fn with_the_leader_silent_a_liar_is_found_and_the_honest_one_stays() {
    let mut fleet = Fleet::new(&["honest", "liar"]);
    fleet.tick(&[("leader", Ok(100)), ("honest", Ok(100)), ("liar", Ok(100))]);
    fleet.tick(&[("leader", DOWN), ("honest", Ok(105)), ("liar", Ok(9_000))]);
    assert_eq!((fleet.state("honest"), fleet.state("liar")), (Healthy, Unhealthy));
    assert_eq!(fleet.reason("liar"), "8895 blocks ahead of everyone else, and nobody seconds it");
    assert_eq!(fleet.health.seen.reference, None, "nobody can say how far anyone lags");
}

#[test]
fn unknown_lag_flips_nobody_but_silence_does() {
    let mut fleet = Fleet::new(&["a", "b", "c"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(50)), ("c", Ok(100))]);
    fleet.tick(&[("leader", DOWN), ("a", Ok(140)), ("b", Ok(90)), ("c", DOWN)]);
    assert_eq!((fleet.state("a"), fleet.state("b"), fleet.state("c")), (Healthy, Unhealthy, Unhealthy));
}

#[test]
fn what_the_prober_was_too_slow_to_see_flips_nobody() {
    let starved = || Err(Failure::Starved);
    let mut fleet = Fleet::new(&["a", "b", "c"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", DOWN), ("c", Ok(100))]);
    let judged = fleet.tick(&[("leader", starved()), ("a", starved()), ("b", starved()), ("c", DOWN)]);
    assert_eq!((fleet.state("a"), fleet.state("b"), fleet.state("c")), (Healthy, Unhealthy, Unhealthy));
    assert!(!judged.unconfirmed, "not all of them failed");
    fleet.tick(&[("leader", Ok(110)), ("a", starved()), ("b", starved()), ("c", starved())]);
    assert_eq!((fleet.state("a"), fleet.state("b"), fleet.state("c")), (Healthy, Unhealthy, Unhealthy));
}

#[test]
fn own_nodes_that_sync_together_do_not_overrule_a_leader_far_ahead() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(100_000)), ("a", Ok(500)), ("b", Ok(500))]);
    assert_eq!((fleet.state("leader"), fleet.state("a"), fleet.state("b")), (Healthy, Unhealthy, Unhealthy));
}

#[test]
fn all_own_nodes_failing_is_confirmed_before_it_is_believed() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(100))]);
    let judged = fleet.tick(&[("leader", Ok(105)), ("a", DOWN), ("b", DOWN)]);
    assert!(judged.unconfirmed);
    assert_eq!((judged.flips, judged.changed), (vec![], vec![]));
    fleet.clock += 5;
    assert!(fleet.round(&[("leader", Ok(105), None), ("a", DOWN, None), ("b", DOWN, None)]).unconfirmed, "too soon");
    fleet.clock += 5;
    let judged = fleet.round(&[("leader", Ok(105), None), ("a", DOWN, None), ("b", DOWN, None)]);
    assert_eq!((judged.unconfirmed, judged.flips.len()), (false, 2));
    assert_eq!(fleet.health.seen.suspect_since, None);
}

#[test]
fn a_hiccup_of_all_own_nodes_flips_nobody() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(100))]);
    fleet.tick(&[("leader", Ok(105)), ("a", DOWN), ("b", DOWN)]);
    fleet.clock += 10;
    let judged = fleet.round(&[("leader", Ok(105), None), ("a", Ok(105), Some(1)), ("b", Ok(105), Some(1))]);
    assert_eq!((judged.flips, fleet.state("a")), (vec![], Healthy));
    assert_eq!(fleet.health.seen.suspect_since, None);
}

#[test]
fn a_new_address_is_a_new_node() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.tick(&[("leader", Ok(100)), ("a", DOWN), ("b", Ok(100))]);
    assert_eq!(fleet.state("a"), Unhealthy);
    fleet.nodes[1].address.url = "http://elsewhere:1".parse().unwrap();
    assert_eq!(fleet.state("a"), Unknown);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100)), ("b", Ok(100))]);
    assert_eq!(fleet.state("a"), Healthy, "one good probe is enough again");
}

#[test]
fn an_answer_from_the_old_address_says_nothing() {
    let mut fleet = Fleet::new(&["a", "b"]);
    let old = fleet.nodes[1].clone();
    fleet.nodes[1].address.url = "http://elsewhere:1".parse().unwrap();
    let outcome = Ok(Answer { head: 100, chain_id: Some(1) });
    let stray = Observation { address: old.address, latency: Duration::ZERO, outcome };
    let nodes: Vec<&Node> = fleet.nodes.iter().collect();
    let judged = judge(&fleet.network, Duration::ZERO, &nodes, &fleet.health, &BTreeMap::from([(old.name, stray)]), T0);
    assert_eq!(judged.flips, []);
}

#[test]
fn a_blind_prober_flips_nobody_and_says_since_when() {
    let mut fleet = Fleet::new(&["a"]);
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100))]);
    let dark = stale(&stale(&fleet.health, at(100)), at(160));
    assert_eq!((dark.seen.stale_since, dark.statuses), (Some(at(100)), fleet.health.statuses.clone()));
    fleet.health.seen = dark.seen;
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100))]);
    assert_eq!(fleet.health.seen.stale_since, None);
}

#[test]
fn blind_is_only_who_asked_and_heard_nobody() {
    let seen = |outcome| Observation { address: node("a").address, latency: Duration::ZERO, outcome };
    let heard = seen(Ok(Answer { head: 1, chain_id: None }));
    let silent = seen(Err(Failure::Timeout));
    assert!(is_blind([&silent, &silent]));
    assert!(!is_blind([&silent, &heard]));
    assert!(!is_blind([]), "nobody to ask is no fault of the prober");
}

#[test]
fn a_clock_that_jumps_back_does_not_break_confirmation() {
    let mut fleet = Fleet::new(&["a"]);
    fleet.clock = 1000;
    fleet.tick(&[("leader", Ok(100)), ("a", Ok(100))]);
    fleet.tick(&[("leader", Ok(105)), ("a", DOWN)]);
    fleet.clock = 10;
    fleet.tick(&[("leader", Ok(105)), ("a", DOWN)]);
    assert_eq!(fleet.state("a"), Healthy, "time that ran backwards confirms nothing");
}
