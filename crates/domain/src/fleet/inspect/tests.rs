use super::*;
use crate::fleet::plan::fixture::{Fleet, wrong_chain};
use crate::fleet::render::render;

/// What is about to be published, made wrong by hand.
struct Case {
    fleet: Fleet,
    rosters: Rosters,
    body: String,
}

impl Case {
    fn new(kind: ProxyKind) -> Self {
        let mut fleet = Fleet::new();
        fleet.config.proxy.kind = kind;
        let plan = fleet.plan();
        assert_eq!(plan.findings, [], "{kind}: what was made is right");
        Self { fleet, rosters: plan.rosters, body: plan.body }
    }

    fn findings(&self, previous: Option<&Rosters>) -> Vec<Finding> {
        let Fleet { config, listed, health, now, .. } = &self.fleet;
        let (rosters, body, now) = (&self.rosters, self.body.as_str(), *now);
        inspect(Look { rosters, body, previous, config, listed, health, now })
    }
}

/// What is forbidden after a change, for both proxies.
#[track_caller]
fn forbids(change: impl Fn(&mut Case), expected: &[&str]) {
    for kind in ProxyKind::ALL {
        let mut case = Case::new(kind);
        change(&mut case);
        let findings = case.findings(None);
        let forbidden = findings.iter().filter(|finding| finding.severity == Severity::Forbid);
        assert_eq!(forbidden.map(ToString::to_string).collect::<Vec<_>>(), expected, "{kind}");
        assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)), "worst first");
    }
}

#[test]
fn a_file_without_networks() {
    let change = |case: &mut Case| {
        case.rosters.clear();
        case.fleet.config.networks.clear();
    };
    forbids(change, &["a file without any network would be published"]);
}

#[test]
fn a_network_without_a_roster() {
    forbids(|case| drop(case.rosters.remove(&"polygon".parse().unwrap())), &["polygon: the network has no roster"]);
}

#[test]
fn a_member_that_must_not_be_one() {
    let stranger = "ethereum: a is in the roster but not in the node list";
    forbids(
        |case| case.fleet.remove("ethereum", "a"),
        &[stranger, "the text names \"10.0.0.1:8545\", which is nobody's address"],
    );
    let change = |case: &mut Case| {
        case.fleet.relocate("ethereum", "a");
        case.fleet.judge("ethereum", "a", None);
    };
    forbids(change, &[stranger, "the text names \"10.0.0.1:8545\", which is nobody's address"]);
    // It is of the other network.
    let change = |case: &mut Case| case.fleet.node("ethereum", "a").network = "polygon".parse().unwrap();
    forbids(change, &[stranger]);
    let wrong = ["ethereum: b is in the roster but cordoned or on a wrong chain"];
    forbids(|case| case.fleet.cordon("ethereum", "b"), &wrong);
    forbids(|case| case.fleet.judge("ethereum", "b", Some(wrong_chain())), &wrong);
    // The fallback is looked at as well.
    let wrong = ["polygon: infura is in the roster but cordoned or on a wrong chain"];
    forbids(|case| case.fleet.cordon("polygon", "infura"), &wrong);
}

#[test]
fn a_text_with_a_control_character() {
    for bad in ['\r', '\0', '\u{1b}', '\u{7f}', '\u{85}'] {
        forbids(|case| case.body.push(bad), &["the text holds a control character"]);
    }
}

#[test]
fn a_text_that_cannot_say_which_revision_it_is() {
    let change = |case: &mut Case| case.body = case.body.replace(REVISION, "1");
    forbids(change, &["the text does not say where the revision's name belongs (@REVISION@)"]);
}

#[test]
fn a_text_that_names_a_stranger() {
    let change = |case: &mut Case| match case.fleet.config.proxy.kind {
        ProxyKind::Nginx => case.body.push_str("upstream evil {\n  server 203.0.113.9:80 weight=1;\n}\n"),
        ProxyKind::Haproxy => case.body.push_str("backend evil\n  server evil 203.0.113.9:80 weight 1\n"),
    };
    forbids(change, &["the text names \"203.0.113.9:80\", which is nobody's address"]);
}

#[test]
fn a_network_may_be_called_as_a_directive_is() {
    for kind in ProxyKind::ALL {
        let mut case = Case::new(kind);
        let [polygon, server] = ["polygon", "server"].map(|name| name.parse::<NetworkId>().unwrap());
        let Fleet { config, listed, health, .. } = &mut case.fleet;
        let network = config.networks.remove(&polygon).unwrap();
        config.networks.insert(server.clone(), network);
        for node in listed.nodes.iter_mut().filter(|node| node.network == polygon) {
            node.network = server.clone();
        }
        let known = health.remove(&polygon).unwrap();
        health.insert(server, known);
        assert_eq!(case.fleet.plan().findings, [], "{kind}");
    }
}

#[test]
fn a_text_that_lacks_a_member() {
    let change = |case: &mut Case| {
        let lines: Vec<_> = case.body.lines().filter(|line| !line.contains("10.0.0.2:8545")).collect();
        case.body = lines.join("\n");
    };
    forbids(change, &["ethereum: b is in the roster but not in the text"]);
    // A comment names nobody.
    let change = |case: &mut Case| {
        let line = |line: &str| if line.contains("10.0.0.2:8545") { format!("# {line}") } else { line.to_owned() };
        case.body = case.body.lines().map(line).collect::<Vec<_>>().join("\n");
    };
    forbids(change, &["ethereum: b is in the roster but not in the text"]);
}

#[test]
fn the_text_of_other_rosters_is_seen_through() {
    let change = |case: &mut Case| {
        let mut fewer = case.rosters.clone();
        for roster in fewer.values_mut() {
            roster.members.truncate(1);
            roster.fallback = None;
        }
        case.body = render(&fewer, &case.fleet.config);
    };
    let lacks = |who: &str| format!("{who} is in the roster but not in the text");
    let expected = ["ethereum: b", "ethereum: c", "ethereum: infura", "polygon: infura"].map(lacks);
    forbids(change, &expected.each_ref().map(String::as_str));
}

#[test]
fn each_way_of_not_being_well_is_told() {
    for (source, words) in [
        (Source::Leader, "polygon: no own node serves; the leader serves alone"),
        (Source::Answering, "polygon: nobody is healthy; nodes that merely answer serve"),
        (Source::CarriedOver, "polygon: nothing answers; the previous roster is kept"),
        (Source::Nobody, "polygon: nobody is left; requests are answered 503"),
    ] {
        let mut case = Case::new(ProxyKind::Nginx);
        case.rosters.get_mut(&"polygon".parse().unwrap()).unwrap().source = source;
        let findings = case.findings(None);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].severity, findings[0].to_string()), (Severity::Warn, words.to_owned()));
    }
}

#[test]
fn a_roster_that_shrinks_to_less_than_half_is_told() {
    let case = Case::new(ProxyKind::Nginx);
    let ethereum = "ethereum".parse().unwrap();
    let shrunk = |from: usize, to: usize| {
        let (mut before, mut case) = (case.rosters.clone(), Case::new(ProxyKind::Nginx));
        before.get_mut(&ethereum).unwrap().members.truncate(from);
        case.rosters.get_mut(&ethereum).unwrap().members.truncate(to);
        case.body = render(&case.rosters, &case.fleet.config);
        case.findings(Some(&before)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(shrunk(3, 1), ["ethereum: the roster shrinks from 3 to 1"]);
    assert_eq!(shrunk(2, 1), [""; 0]);
    assert_eq!(shrunk(3, 2), [""; 0]);
    assert_eq!(shrunk(1, 3), [""; 0]);
    assert_eq!(shrunk(1, 0), ["ethereum: the roster shrinks from 1 to 0"]);
}
