use crate::fleet::plan::fixture::{Fleet, NOW, silent, wrong_chain};

fn released(fleet: &Fleet) -> Option<String> {
    fleet.pin.as_ref().unwrap().released(&fleet.config, &fleet.listed, &fleet.health, fleet.now)
}

/// A rollback to a, b, c and the leader; then something happens.
#[track_caller]
fn after(change: impl Fn(&mut Fleet), expected: Option<&str>) {
    let mut fleet = Fleet::live();
    fleet.pin_published("");
    assert_eq!(released(&fleet), None);
    change(&mut fleet);
    assert_eq!(released(&fleet).as_deref(), expected);
}

#[test]
fn it_ends_by_itself_and_not_before() {
    let to = |seconds: u64| move |fleet: &mut Fleet| fleet.now = NOW + std::time::Duration::from_secs(seconds);
    after(to(3599), None);
    after(to(3600), Some("it was to end at 2023-11-14T23:13:20Z"));
    after(to(99_999), Some("it was to end at 2023-11-14T23:13:20Z"));
}

#[test]
fn it_holds_against_what_it_is_for() {
    use crate::fleet::judge::Reason;
    after(|f| f.judge("ethereum", "b", Some(silent())), None);
    after(|f| f.judge("ethereum", "b", Some(Reason::Lag { behind: 99, allowed: 10 })), None);
    after(|f| f.judge("ethereum", "b", Some(Reason::Implausible { ahead: 999 })), None);
    after(|f| f.node("ethereum", "b").weight = 9, None);
    after(|f| f.health.clear(), None);
    let unlisted_network = |fleet: &mut Fleet| {
        fleet.config.networks.remove(&"polygon".parse().unwrap());
        fleet.remove("polygon", "x");
    };
    after(unlisted_network, None);
}

#[test]
fn it_yields_to_an_operator_s_word_and_to_a_wrong_chain() {
    after(|f| f.cordon("ethereum", "b"), Some("ethereum: b is cordoned"));
    after(|f| f.cordon("polygon", "infura"), Some("polygon: infura is cordoned"));
    after(|f| f.remove("ethereum", "c"), Some("ethereum: c was removed"));
    after(|f| f.relocate("ethereum", "a"), Some("ethereum: a is at another address now"));
    after(|f| f.judge("ethereum", "b", Some(wrong_chain())), Some("ethereum: b is on a wrong chain"));
    // Found at another address than the pinned one: that says nothing about this one.
    let elsewhere = |fleet: &mut Fleet| {
        let address = fleet.node("ethereum", "b").address.clone();
        fleet.relocate("ethereum", "b");
        fleet.judge("ethereum", "b", Some(wrong_chain()));
        fleet.node("ethereum", "b").address = address;
    };
    after(elsewhere, None);
    let ended = |fleet: &mut Fleet| {
        fleet.cordon("ethereum", "b");
        fleet.node("ethereum", "b").cordon.as_mut().unwrap().until = Some(NOW);
    };
    after(ended, None);
}

#[test]
fn it_ends_when_nobody_of_a_network_answers() {
    let silence = |names: &'static [&str]| {
        move |fleet: &mut Fleet| {
            for name in names {
                fleet.judge("ethereum", name, Some(silent()));
            }
        }
    };
    after(silence(&["a", "b", "c"]), None);
    after(silence(&["b", "c", "infura"]), None);
    after(silence(&["a", "b", "c", "infura"]), Some("ethereum: none of the pinned nodes answers"));
    // One who is behind answers.
    let one_is_behind = |fleet: &mut Fleet| {
        silence(&["a", "b", "infura"])(fleet);
        fleet.judge("ethereum", "c", Some(crate::fleet::judge::Reason::Lag { behind: 99, allowed: 10 }));
    };
    after(one_is_behind, None);
}

#[test]
fn a_network_that_was_pinned_to_nobody_answers_nobody() {
    let nobody = |fleet: &mut Fleet| {
        let roster = fleet.pin.as_mut().unwrap().rosters.get_mut(&"ethereum".parse().unwrap()).unwrap();
        roster.members.clear();
        roster.fallback = None;
    };
    after(nobody, None);
}
