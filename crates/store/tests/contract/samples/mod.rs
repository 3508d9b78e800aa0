//! Things to keep.

pub(crate) mod gate;

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::judge::{NodeSeen, Reason, Reference, Seen, State, Status, Witness};
use nodeweir_domain::fleet::node::{Address, Item};
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::probe::Failure;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::fleet::roster::{Member, Roster, Rosters, Source};
use nodeweir_domain::name::{NetworkId, NodeName};
use nodeweir_store::Event;
use serde_json::{Value, json};

/// `seconds` and a bit after some time, so that parts of a second have to be kept too.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::constant(1_700_000_000, 123_456_789) + Duration::from_secs(seconds)
}

pub(crate) fn network(name: &str) -> NetworkId {
    name.parse().unwrap()
}

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub(crate) fn item(network: &str, node: &str, attributes: Value) -> Item {
    let Value::Object(attributes) = attributes else { panic!("attributes are a mapping") };
    Item { network: network.to_owned(), node: node.to_owned(), attributes }
}

pub(crate) fn address(host: &str) -> Address {
    Address {
        url: format!("https://{host}:8545/v3/${{KEY}}").parse().unwrap(),
        ws_url: Some(format!("wss://{host}/ws").parse().unwrap()),
        host: Some("rpc.example".to_owned().try_into().unwrap()),
    }
}

/// Two that differ in nothing but `since` are two.
pub(crate) fn status(since: u64) -> Status {
    Status {
        address: address("a"),
        state: State::Unhealthy,
        reason: Some(Reason::Failed(Failure::RpcError { code: -32_005, message: "slow \"down\"".to_owned() })),
        since: at(since),
    }
}

pub(crate) fn seen(tick: u64) -> Seen {
    let one = NodeSeen {
        head: Some(u64::MAX >> 1),
        lag: Some(0),
        latency_ms: 12,
        fault: Some("näch\nste".to_owned()),
        good: 0,
        bad: u32::MAX,
        chain_checked: Some(at(tick)),
    };
    Seen {
        tick: Some(at(tick)),
        reference: Some(Reference { head: 7, by: Witness::Leader }),
        suspect_since: Some(at(1)),
        stale_since: None,
        nodes: [(node("a"), one), (node("b"), NodeSeen::default())].into(),
    }
}

fn rosters() -> Rosters {
    let member = |name: &str| Member { name: node(name), weight: 3, address: address(name) };
    let roster = Roster { source: Source::Nodes, members: vec![member("a"), member("b")], fallback: Some(member("c")) };
    Rosters::from([(network("ethereum"), roster)])
}

pub(crate) fn pin(revision: u64) -> Pin {
    Pin {
        revision,
        rosters: rosters(),
        by: "me".to_owned(),
        why: "it worked then".to_owned(),
        at: at(0),
        until: at(3600),
    }
}

pub(crate) fn revision(seq: u64) -> Revision {
    Revision {
        seq,
        proxy: ProxyKind::Nginx,
        at: at(seq),
        reason: format!("ethereum: number {seq}"),
        rosters: rosters(),
        body: format!("events {{}}\n# {seq}\n"),
    }
}

pub(crate) fn event(number: u64) -> Event {
    Event {
        at: at(number),
        who: "probe".to_owned(),
        kind: "flip".to_owned(),
        network: Some("ethereum".to_owned()),
        node: None,
        what: format!("number {number}: \"healthy\" -> 'unhealthy'\n"),
    }
}

/// Attributes with every kind of value, of which most mean nothing to us.
pub(crate) fn everything() -> Value {
    json!({
        "url": "http://10.0.0.1:8545", "weight": 3, "note": "Schrank 4, \"rechts\"\n\u{1f980}", "empty": "", "none": null,
        "yes": true, "most": u64::MAX, "least": i64::MIN, "part": 1.5, "list": [1, "two", [3], {}],
        "cordon": {"by": "me", "until": "2026-01-31T12:00:00Z"}
    })
}
