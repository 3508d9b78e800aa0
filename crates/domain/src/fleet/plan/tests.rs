use super::fixture::{Fleet, silent, wrong_chain};
use super::*;
use crate::config::ProxyKind;
use crate::fleet::judge::Reason;

#[test]
fn the_first_revision_is_published_once() {
    for kind in ProxyKind::ALL {
        let mut fleet = Fleet::new();
        fleet.config.proxy.kind = kind;
        assert_eq!(fleet.publish(), "first revision");
        let rosters = &fleet.published.as_ref().unwrap().rosters;
        assert_eq!(Fleet::names(rosters, "ethereum"), "a b c infura");
        assert_eq!(Fleet::names(rosters, "polygon"), "x infura");
        assert_eq!(fleet.plan().findings, []);
    }
}

/// One change, and why it is published.
#[track_caller]
fn because(change: impl Fn(&mut Fleet), reason: &str) -> Fleet {
    let mut fleet = Fleet::live();
    change(&mut fleet);
    assert_eq!(fleet.publish(), reason);
    fleet
}

fn behind() -> Reason {
    Reason::Lag { behind: 20, allowed: 10 }
}

#[test]
fn each_change_has_its_reason_in_words() {
    because(|f| f.judge("ethereum", "b", Some(behind())), "ethereum: b left (20 blocks behind, 10 allowed)");
    because(|f| f.judge("ethereum", "b", Some(silent())), "ethereum: b left (no answer in time)");
    let wrong = "ethereum: b left (chain id is 2, the network's is 1)";
    because(|f| f.judge("ethereum", "b", Some(wrong_chain())), wrong);
    because(|f| f.cordon("ethereum", "b"), "ethereum: b left (cordoned)");
    because(|f| f.remove("ethereum", "b"), "ethereum: b left (removed)");
    because(|f| f.relocate("ethereum", "b"), "ethereum: b left (new address, not probed yet)");
    because(|f| f.node("ethereum", "b").weight = 5, "ethereum: b weighs 5");
    because(|f| f.judge("ethereum", "infura", Some(wrong_chain())), "ethereum: no fallback");
    because(|f| f.cordon("ethereum", "infura"), "ethereum: no fallback");
    because(|f| f.config.proxy.access_log = false, "settings changed");
    because(|f| f.config.proxy.kind = ProxyKind::Haproxy, "settings changed");
    let moved = |fleet: &mut Fleet| {
        fleet.relocate("ethereum", "b");
        fleet.judge("ethereum", "b", None);
    };
    because(moved, "ethereum: b moved");
    let several = |fleet: &mut Fleet| {
        fleet.cordon("ethereum", "c");
        fleet.judge("ethereum", "a", Some(silent()));
        fleet.judge("polygon", "x", Some(behind()));
    };
    because(
        several,
        "ethereum: a left (no answer in time), c left (cordoned); \
         polygon: x left (20 blocks behind, 10 allowed), infura joined, the leader serves alone",
    );
}

#[test]
fn each_way_back_has_its_reason_too() {
    let mut fleet = because(|f| f.judge("ethereum", "b", Some(silent())), "ethereum: b left (no answer in time)");
    fleet.judge("ethereum", "b", None);
    assert_eq!(fleet.publish(), "ethereum: b joined");
    let mut fleet = because(|f| f.cordon("ethereum", "infura"), "ethereum: no fallback");
    fleet.node("ethereum", "infura").cordon = None;
    assert_eq!(fleet.publish(), "ethereum: infura is the fallback");
    let alone = "polygon: x left (no answer in time), infura joined, the leader serves alone";
    let mut fleet = because(|f| f.judge("polygon", "x", Some(silent())), alone);
    fleet.judge("polygon", "x", None);
    assert_eq!(fleet.publish(), "polygon: infura left (own nodes serve again), x joined, own nodes serve");
}

#[test]
fn networks_come_and_go_with_the_configuration() {
    let polygon: NetworkId = "polygon".parse().unwrap();
    let mut fleet = Fleet::live();
    let network = fleet.config.networks.remove(&polygon).unwrap();
    assert_eq!(fleet.publish(), "polygon: removed from the configuration");
    fleet.config.networks.insert(polygon, network);
    assert_eq!(fleet.publish(), "polygon: new network");
}

#[test]
fn what_would_change_nothing_that_is_published_is_no_change() {
    let mut fleet = Fleet::live();
    let body = fleet.published.as_ref().unwrap().body.clone();
    // The leader down while own nodes serve; a node that is out anyway; a note, a time, a streak.
    fleet.judge("ethereum", "infura", Some(silent()));
    assert_eq!(fleet.plan().step, Step::Nothing);
    fleet.judge("ethereum", "b", Some(silent()));
    fleet.publish();
    fleet.judge("ethereum", "b", Some(behind()));
    fleet.now += std::time::Duration::from_secs(86_400);
    assert_eq!(fleet.plan().step, Step::Nothing);
    fleet.judge("ethereum", "b", None);
    fleet.publish();
    assert_eq!(fleet.published.as_ref().unwrap().body, body, "back to the same bytes");
}

#[test]
fn one_network_s_trouble_leaves_the_other_s_roster() {
    for trouble in [silent(), behind(), wrong_chain()] {
        let mut fleet = Fleet::live();
        for node in ["a", "b", "c", "infura"] {
            fleet.judge("ethereum", node, Some(trouble.clone()));
        }
        let plan = fleet.plan();
        assert_eq!(Fleet::names(&plan.rosters, "polygon"), "x infura");
        if let Step::Publish { reason } = plan.step {
            assert!(!reason.contains("polygon"), "{reason}");
            fleet.publish();
        }
        fleet.judge("polygon", "x", Some(silent()));
        let reason = fleet.publish();
        assert!(reason.contains("polygon: x left"), "{reason}");
        assert_eq!(
            Fleet::names(&fleet.published.unwrap().rosters, "ethereum"),
            Fleet::names(&plan.rosters, "ethereum")
        );
    }
}

#[test]
fn every_mix_of_troubles_comes_to_rest() {
    let troubles = [None, Some(silent()), Some(behind()), Some(wrong_chain())];
    let mut fleet = Fleet::live();
    let mut published = 0;
    for mix in 0..4_usize.pow(4) {
        for (digit, node) in ["a", "b", "c", "infura"].into_iter().enumerate() {
            fleet.judge("ethereum", node, troubles[mix / 4_usize.pow(digit.try_into().unwrap()) % 4].clone());
        }
        if fleet.plan().step != Step::Nothing {
            // Asserts that nothing is left to do afterwards.
            fleet.publish();
            published += 1;
        }
    }
    assert!(published > 30, "{published}");
}

#[test]
fn a_damaged_file_is_published_anew_from_what_is_known() {
    let mut fleet = Fleet::live();
    fleet.is_intact = false;
    let damaged = "the published file is missing, cut off or was changed by hand";
    assert_eq!(fleet.publish(), damaged);
    // What else changed meanwhile is said as well.
    fleet.is_intact = false;
    fleet.cordon("ethereum", "b");
    assert_eq!(fleet.publish(), format!("{damaged}; ethereum: b left (cordoned)"));
    // The previous rosters are those of the history: nobody answers, and they are carried over.
    for node in ["a", "c", "infura"] {
        fleet.judge("ethereum", node, Some(silent()));
    }
    fleet.is_intact = false;
    assert_eq!(fleet.publish(), format!("{damaged}; ethereum: nothing answers"));
    assert_eq!(Fleet::names(&fleet.published.unwrap().rosters, "ethereum"), "a c infura");
}

#[test]
fn what_must_not_be_published_is_refused() {
    let mut fleet = Fleet::live();
    fleet.config.networks.clear();
    let plan = fleet.plan();
    assert_eq!(plan.step, Step::Refuse);
    assert_eq!(plan.findings[0].severity, Severity::Forbid);
}

#[test]
fn a_rollback_holds_against_health_and_ends() {
    let mut fleet = Fleet::live();
    fleet.pin_published("it worked then");
    assert_eq!(fleet.plan().step, Step::Nothing, "to what is published anyway");
    fleet.judge("ethereum", "b", Some(behind()));
    assert_eq!(fleet.plan().step, Step::Nothing, "the pin holds");
    fleet.now = fleet.pin.as_ref().unwrap().until;
    let plan = fleet.plan();
    assert_eq!(plan.released.as_deref(), Some("it was to end at 2023-11-14T23:13:20Z"));
    assert_eq!(Fleet::names(&plan.rosters, "ethereum"), "a c infura");
    assert_eq!(
        fleet.publish(),
        "rollback ended: it was to end at 2023-11-14T23:13:20Z; ethereum: b left (20 blocks behind, 10 allowed)"
    );
}

#[test]
fn a_rollback_says_whose_it_is_and_to_what() {
    let mut fleet = Fleet::live();
    let before = fleet.published.clone();
    fleet.judge("ethereum", "b", Some(behind()));
    fleet.publish();
    let after = std::mem::replace(&mut fleet.published, before);
    fleet.pin_published("b is fine");
    fleet.published = after;
    assert_eq!(fleet.publish(), "rollback to revision 1 by me (b is fine); ethereum: b joined");
    fleet.pin.as_mut().unwrap().why.clear();
    fleet.is_intact = false;
    let reason = fleet.publish();
    assert!(reason.ends_with("rollback to revision 1 by me"), "{reason}");
}

#[test]
fn a_rollback_is_for_the_networks_that_it_knows() {
    let mut fleet = Fleet::live();
    fleet.pin_published("");
    let pinned = &mut fleet.pin.as_mut().unwrap().rosters;
    let polygon = pinned.remove(&"polygon".parse().unwrap()).unwrap();
    pinned.insert("elsewhere".parse().unwrap(), polygon);
    fleet.judge("polygon", "x", Some(silent()));
    fleet.judge("ethereum", "b", Some(silent()));
    let plan = fleet.plan();
    assert_eq!((plan.released, plan.rosters.len()), (None, 2));
    assert_eq!(Fleet::names(&plan.rosters, "polygon"), "infura", "as health has it");
    assert_eq!(Fleet::names(&plan.rosters, "ethereum"), "a b c infura", "as pinned");
}
