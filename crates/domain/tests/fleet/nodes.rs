//! Checks what is made of a node list: which items become nodes, and what either proxy's file says of them. The fuzz
//! target `nodes` and tests here and in the control crate call it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use nodeweir_domain::config::{Config, GateAddress, ProxyKind};
use nodeweir_domain::fleet::inspect::Severity;
use nodeweir_domain::fleet::judge::{Health, NodeSeen, Reason, State, Status};
use nodeweir_domain::fleet::node::{Item, Listed, Node, list, resolve};
use nodeweir_domain::fleet::plan::{Plan, World, plan};
use nodeweir_domain::fleet::probe::Failure;
use nodeweir_domain::fleet::roster::Member;
use nodeweir_domain::name::NetworkId;
use serde_json::{Map, Value, json};

use crate::proxy::{File, named};
use crate::{sound, twin};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// Hosts that the only secret may go to, in the configurations here.
pub(crate) const SECRET_HOSTS: [&str; 3] = ["*.example", "mainnet.infura.io", "localhost"];

/// Panics if a list and what is rendered of it do not fit together, for either proxy, with and without the gate. One item
/// stands on each line, its parts between tabs: network, name, and each attribute as `key=value`. See [`items`].
pub(crate) fn check(bytes: &[u8]) {
    for turn in 0..3 {
        check_one(bytes, turn);
    }
}

/// The same for one of the three; a fuzzer has no time to look at all of them.
pub(crate) fn check_one(bytes: &[u8], turn: usize) {
    static CONFIGS: OnceLock<[Config; 3]> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let listing = items(text);
    let configs = CONFIGS.get_or_init(|| {
        let networks = ["ethereum", "rpc"];
        [(ProxyKind::Nginx, false), (ProxyKind::Nginx, true), (ProxyKind::Haproxy, false)]
            .map(|(kind, is_gated)| config(kind, is_gated, &networks))
    });
    let config = &configs[turn % 3];
    let items: Vec<_> = listing.iter().map(|(item, _)| item.clone()).collect();
    let listed = list(&items, config);
    sound::check(&items, &listed, config);
    let seen = |node: &Node| {
        let is_its = |item: &Item| item.network == node.network.as_str() && item.node == node.name.as_str();
        listing.iter().find(|(item, _)| is_its(item)).map_or(Seen::Healthy, |(_, seen)| *seen)
    };
    check_text(&planned(&listed, config, seen), config);
}

/// What health says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Healthy,
    Dead,
    Behind,
    Elsewhere,
    Never,
}

/// Items as they are written, and what is seen of each. A line begins with a sign (`+` healthy, `-` dead, `~` behind, `!`
/// on a wrong chain, otherwise never asked). A value that is JSON is that, any other is a text, in which `\n`, `\r`,
/// `\t`, `\0` and `\\` are the signs that could not stand there.
fn items(text: &str) -> Vec<(Item, Seen)> {
    let line = |line: &str| {
        let (seen, line) = match line.chars().next() {
            Some('+') => (Seen::Healthy, &line[1..]),
            Some('-') => (Seen::Dead, &line[1..]),
            Some('~') => (Seen::Behind, &line[1..]),
            Some('!') => (Seen::Elsewhere, &line[1..]),
            _ => (Seen::Never, line),
        };
        let mut parts = line.split('\t');
        let mut part = || parts.next().map(unescaped).unwrap_or_default();
        let (network, node) = (part(), part());
        let attribute = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(unescaped(value)));
            (unescaped(key), value)
        };
        (Item { network, node, attributes: parts.map(attribute).collect() }, seen)
    };
    text.lines().take(40).map(line).collect()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let meant = match (c, chars.clone().next()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('0')) => '\0',
            ('\\', Some('\\')) => '\\',
            _ => {
                plain.push(c);
                continue;
            }
        };
        plain.push(meant);
        chars.next();
    }
    plain
}

/// A configuration with these networks, the first of which is the default one.
pub(crate) fn config(kind: ProxyKind, is_gated: bool, networks: &[&str]) -> Config {
    let mut all = Map::new();
    for (index, id) in networks.iter().enumerate() {
        let leader = json!({"url": format!("https://leader-{index}.example/v3/${{KEY}}"), "ws_url": format!("wss://leader-{index}.example/ws")});
        all.insert((*id).to_owned(), json!({"chain_id": index + 1, "block_time": "12s", "leader": leader}));
    }
    let all = json!({
        "default_network": networks[0], "networks": all, "proxy": {"kind": kind.as_str()}, "gate": {"enabled": is_gated},
        "secrets": {"KEY": {"hosts": SECRET_HOSTS}},
    });
    // JSON is YAML.
    Config::read(&all.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// What should be published of a list, if each of its nodes was seen so.
pub(crate) fn planned(listed: &Listed, config: &Config, seen: impl Fn(&Node) -> Seen) -> Plan {
    let mut health: BTreeMap<NetworkId, Health> = BTreeMap::new();
    for (index, node) in listed.nodes.iter().enumerate() {
        let reason = match seen(node) {
            Seen::Never => continue,
            Seen::Healthy => None,
            Seen::Dead => Some(Reason::Failed(Failure::Timeout)),
            Seen::Behind => Some(Reason::Lag { behind: 50, allowed: 10 }),
            Seen::Elsewhere => Some(Reason::WrongChain { expected: 1, found: 2 }),
        };
        let of = health.entry(node.network.clone()).or_default();
        let head = (!matches!(reason, Some(Reason::Failed(_)))).then_some(100 + index as u64);
        of.seen.nodes.insert(node.name.clone(), NodeSeen { head, ..NodeSeen::default() });
        let state = if reason.is_none() { State::Healthy } else { State::Unhealthy };
        of.statuses.insert(node.name.clone(), Status { address: node.address.clone(), state, reason, since: NOW });
    }
    plan(World { config, listed, health: &health, published: None, is_intact: false, pin: None, now: NOW })
}

/// Panics unless the plan's text names exactly whom its rosters name, and has nothing else of what was free-form.
pub(crate) fn check_text(plan: &Plan, config: &Config) {
    let Plan { rosters, body, findings, .. } = plan;
    let forbidden: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Forbid).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    assert!(!body.contains(|c: char| c.is_control() && c != '\n'), "{body}");
    let gate = match config.gate.listen {
        GateAddress::Socket => "unix:sock/gate.sock".to_owned(),
        GateAddress::Tcp(address) => address.to_string(),
    };
    let file = File::read(config.proxy.kind, body);
    let found = named::read(&file, config.gate.enabled.then_some(gate.as_str()));
    assert_eq!(found, named::demanded(rosters), "{body}");
    // Values of secrets stay in their words too. Those of the leaders do so in every file.
    let has_secret = |member: &Member| member.address.url.path().contains('$');
    if rosters.values().any(|roster| roster.members.iter().any(has_secret)) {
        let put = |text: &str| resolve(text, |_| Some("0.~_-s3cret".to_owned())).unwrap();
        assert_eq!(File::read(config.proxy.kind, &put(body)), file.clone().map(&|word| put(&word)));
    }
    twin::check(rosters, file, config);
}
