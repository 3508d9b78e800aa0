//! From the configuration as written to one in which everything fits together.

mod aws;
mod gate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Map, Value};

use super::written::{NetworkWritten, ProxyWritten, RolloutWritten, SecretWritten, Written};
use super::{Config, Health, Limits, Network, Proxy, ProxyKind, Rollout, RolloutMode, Timeouts};
use crate::fleet::node::{Item, SecretName, SecretRule, SecretRules, parse_host, read_items};
use crate::name::{NetworkId, NodeName};
use crate::read::{Fault, Faults};

/// `max_lag_blocks` where neither it nor `max_lag` is written.
const DEFAULT_MAX_LAG_BLOCKS: u64 = 10;

/// Collects what is wrong while going on.
#[derive(Default)]
struct Check(Vec<Fault>);

impl Check {
    fn fault(&mut self, path: &str, problem: impl Into<String>) {
        self.0.push(Fault::at(path, problem));
    }

    fn take<T, E: ToString>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fault(path, error.to_string())).ok()
    }

    fn between(&mut self, path: &str, value: Duration, least: Duration, most: Duration) {
        if !(least..=most).contains(&value) {
            let [value, least, most] = [value, least, most].map(crate::text::show_duration);
            self.fault(path, format!("{value} is not between {least} and {most}"));
        }
    }
}

/// Checks everything; all faults come back at once.
pub(super) fn check(written: Written) -> Result<Config, Faults> {
    let mut check = Check::default();
    let secrets = secrets(&mut check, written.secrets.0);
    let health = Health {
        interval: written.health.interval.0,
        timeout: written.health.timeout.0,
        confirm_after: written.health.confirm_after.0,
        allow_link_local: written.health.allow_link_local,
    };
    let ms = Duration::from_millis;
    check.between("health.interval", health.interval, ms(500), ms(3_600_000));
    check.between("health.timeout", health.timeout, ms(50), ms(30_000));
    check.between("health.confirm_after", health.confirm_after, ms(0), ms(300_000));
    let mut networks = BTreeMap::new();
    if written.networks.0.is_empty() {
        check.fault("networks", "at least one network is needed");
    }
    let names: Vec<String> = written.networks.0.keys().cloned().collect();
    for (id, network) in written.networks.0 {
        let path = format!("networks.{id}");
        let id = check.take::<NetworkId, _>(&path, id.parse());
        let network = self::network(&mut check, &path, id.as_ref(), network, &secrets, health.allow_link_local);
        networks.extend(id.zip(network));
    }
    let default_network = default_network(&mut check, written.default_network, &names);
    let proxy = proxy(&mut check, &written.proxy);
    let rollout = rollout(&mut check, &written.rollout);
    let listen = proxy.as_ref().map(|proxy| proxy.listen);
    let gate = gate::gate(&mut check, written.gate, &names, &secrets, listen);
    if proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Haproxy)
        && gate.as_ref().is_some_and(|gate| gate.enabled)
    {
        check.fault(
            "proxy.kind",
            "HAProxy cannot ask the gate for keys yet: use nginx, or switch the gate off with `gate: {enabled: false}`",
        );
    }
    if written.state.trim().is_empty() || written.state.contains('\0') {
        check.fault("state", "a folder is expected");
    }
    let aws = written.aws.and_then(|aws| aws::aws(&mut check, aws, &secrets, health.interval, listen));
    match (default_network, proxy, rollout, gate) {
        (Some(default_network), Some(proxy), Some(rollout), Some(gate)) if check.0.is_empty() => {
            Ok(Config { state: written.state, default_network, networks, health, secrets, proxy, rollout, gate, aws })
        }
        _ => Err(Faults(check.0)),
    }
}

fn secrets(check: &mut Check, written: BTreeMap<String, SecretWritten>) -> SecretRules {
    let mut rules = BTreeMap::new();
    for (name, secret) in written {
        let path = format!("secrets.{name}");
        for host in &secret.hosts {
            if parse_host(host.strip_prefix("*.").unwrap_or(host)).is_none() {
                check.fault(
                    &format!("{path}.hosts"),
                    format!("{:?} is not a host name, or *. and a host name", crate::name::shown(host)),
                );
            }
        }
        if secret.hosts.is_empty() {
            check.fault(&format!("{path}.hosts"), "at least one host is needed, or the secret can go nowhere");
        }
        let name = check.take::<SecretName, _>(&path, name.parse());
        rules.extend(name.map(|name| (name, SecretRule { hosts: secret.hosts })));
    }
    SecretRules(rules)
}

fn network(
    check: &mut Check,
    path: &str,
    id: Option<&NetworkId>,
    written: NetworkWritten,
    secrets: &SecretRules,
    allow_link_local: bool,
) -> Option<Network> {
    let key = |name: &str| format!("{path}.{name}");
    if written.chain_id == 0 {
        check.fault(&key("chain_id"), "no chain has the id 0");
    }
    let block_time = written.block_time.0;
    check.between(&key("block_time"), block_time, Duration::from_millis(10), Duration::from_secs(3600));
    let max_lag_blocks = match (written.max_lag_blocks, written.max_lag) {
        (Some(_), Some(_)) => {
            check.fault(&key("max_lag"), "`max_lag_blocks` is set too; keep one of the two");
            None
        }
        (Some(blocks), None) => Some(blocks),
        // Rounded up: a node exactly max_lag behind is healthy, as one exactly max_lag_blocks behind is.
        (None, Some(time)) => {
            let blocks = time.0.as_millis().div_ceil(block_time.as_millis().max(1));
            Some(u64::try_from(blocks).unwrap_or(u64::MAX))
        }
        (None, None) => Some(DEFAULT_MAX_LAG_BLOCKS),
    };
    if max_lag_blocks.is_some_and(|blocks| blocks > 1_000_000) {
        let written = if written.max_lag.is_some() { "max_lag" } else { "max_lag_blocks" };
        check.fault(&key(written), "more than 1,000,000 blocks is no limit at all");
    }
    let streak = |check: &mut Check, name: &str, count: u32| {
        let count = NonZeroU32::new(count).filter(|count| count.get() <= 100);
        if count.is_none() {
            check.fault(&key(name), "1 to 100 is expected");
        }
        count
    };
    let fall = streak(check, "fall", written.fall);
    let rise = streak(check, "rise", written.rise);
    // The leader is read by the same rules as an item of the table, because that is what it becomes.
    let name = check.take::<NodeName, _>(&key("leader.name"), written.leader.name.parse())?;
    let mut attributes = Map::from_iter([
        ("role".to_owned(), Value::from("leader")),
        ("url".to_owned(), Value::from(written.leader.url)),
    ]);
    attributes.extend(written.leader.ws_url.map(|url| ("ws_url".to_owned(), Value::from(url))));
    attributes.extend(written.leader.host.map(|host| ("host".to_owned(), Value::from(host))));
    let id = id?;
    let item = Item { network: id.to_string(), node: name.to_string(), attributes };
    let listed = read_items(&[item], &BTreeMap::from([(id.clone(), name)]), secrets, allow_link_local);
    for rejected in listed.rejected {
        check.fault(&key("leader"), rejected.why);
    }
    let leader = listed.nodes.into_iter().next()?;
    Some(Network {
        chain_id: written.chain_id,
        leader,
        block_time,
        max_lag_blocks: max_lag_blocks?,
        fall: fall?,
        rise: rise?,
    })
}

/// `names` are all networks that are written, also those with faults of their own.
fn default_network(check: &mut Check, written: Option<String>, names: &[String]) -> Option<NetworkId> {
    match (written, names) {
        (Some(name), _) if names.contains(&name) => name.parse().ok(),
        (Some(name), _) => {
            let near = crate::read::did_you_mean(&name, names.iter().map(String::as_str));
            check.fault("default_network", format!("{:?} is not one of the networks{near}", crate::name::shown(&name)));
            None
        }
        (None, [only]) => only.parse().ok(),
        (None, []) => None,
        (None, _) => {
            check.fault("default_network", "with several networks, name the one that addresses without a network mean");
            None
        }
    }
}

fn proxy(check: &mut Check, written: &ProxyWritten) -> Option<Proxy> {
    let kind = ProxyKind::ALL.into_iter().find(|kind| kind.as_str() == written.kind);
    if kind.is_none() {
        check.fault(
            "proxy.kind",
            format!("unknown value {:?}; expected nginx or haproxy", crate::name::shown(&written.kind)),
        );
    }
    let listen = written.listen.parse().map_err(|_| {
        format!(
            "{:?} is not an address and port such as 127.0.0.1:8080 or 0.0.0.0:8080",
            crate::name::shown(&written.listen)
        )
    });
    let listen: Option<SocketAddr> = check.take("proxy.listen", listen);
    check_address(check, "proxy.listen", listen);
    let times = &written.timeouts;
    let timeouts = Timeouts {
        connect: times.connect.0,
        attempt: times.attempt.0,
        total: times.total.0,
        keepalive_min: times.keepalive_min.0,
        shutdown: times.shutdown.0,
        drain: times.drain.0,
        websocket_idle: times.websocket_idle.0,
    };
    let hour = Duration::from_secs(3600);
    for (name, value, least_ms) in [
        ("connect", timeouts.connect, 10),
        ("attempt", timeouts.attempt, 10),
        ("total", timeouts.total, 10),
        ("keepalive_min", timeouts.keepalive_min, 0),
        ("shutdown", timeouts.shutdown, 1000),
        ("drain", timeouts.drain, 0),
        ("websocket_idle", timeouts.websocket_idle, 1000),
    ] {
        check.between(&format!("proxy.timeouts.{name}"), value, Duration::from_millis(least_ms), hour);
    }
    let tries = timeouts.connect.saturating_add(timeouts.attempt).saturating_mul(3);
    if tries > timeouts.total {
        let [tries, total] = [tries, timeouts.total].map(crate::text::show_duration);
        check.fault(
            "proxy.timeouts.attempt",
            format!("three tries of connect + attempt take {tries}, `total` is {total}"),
        );
    }
    let limits = Limits { max_body: written.limits.max_body.0, connections: written.limits.connections };
    if !(1024..=64 << 20).contains(&limits.max_body) {
        check.fault("proxy.limits.max_body", "1KiB to 64MiB is expected");
    }
    if !(64..=1_000_000).contains(&limits.connections) {
        check.fault("proxy.limits.connections", "64 to 1000000 is expected");
    }
    Some(Proxy {
        kind: kind?,
        listen: listen?,
        timeouts,
        limits,
        endpoint_headers: written.endpoint_headers,
        access_log: written.access_log,
    })
}

/// What a proxy could not listen on.
fn check_address(check: &mut Check, path: &str, address: Option<SocketAddr>) {
    if address.is_some_and(|address| address.port() == 0) {
        check.fault(path, "port 0 would be another port at each start; 1 to 65535 is expected");
    }
    if matches!(address, Some(SocketAddr::V6(address)) if address.scope_id() != 0) {
        check.fault(path, "an address with a scope (%) means something on one machine only, and no proxy reads it");
    }
}

fn rollout(check: &mut Check, written: &RolloutWritten) -> Option<Rollout> {
    check.between("rollout.min_interval", written.min_interval.0, Duration::ZERO, Duration::from_secs(86_400));
    let mode = match written.mode.as_str() {
        "redeploy" => RolloutMode::Redeploy,
        "reload" => RolloutMode::Reload,
        other => {
            check.fault(
                "rollout.mode",
                format!("unknown value {:?}; expected redeploy or reload", crate::name::shown(other)),
            );
            return None;
        }
    };
    Some(Rollout { mode, min_interval: written.min_interval.0 })
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const SMALL: &str =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader:\n      url: http://127.0.0.1:1\n";

    fn faults(text: &str) -> Vec<String> {
        Config::read(text).unwrap_err().0.into_iter().map(|f| format!("{} {}: {}", f.line, f.key, f.problem)).collect()
    }

    #[test]
    fn the_least_configuration_has_the_design_s_defaults() {
        let config = Config::read(SMALL).unwrap();
        let network = &config.networks[&config.default_network];
        assert_eq!((network.max_lag_blocks, network.fall.get(), network.rise.get()), (10, 1, 2));
        assert_eq!(network.leader.name.as_str(), "infura");
        assert_eq!(config.health.interval.as_secs(), 60);
    }

    #[test]
    fn all_faults_come_at_once_with_their_lines() {
        let text = format!(
            "{SMALL}    fall: 0\n    max_lag_block: 3\nproxy:\n  listen: here\n  timeouts:\n    connect: 2\nhealth:\n  interval: 5\nproxi: 1\n"
        );
        assert_eq!(
            faults(&text),
            [
                "8 networks.ethereum.max_lag_block: unknown key `max_lag_block`; did you mean `max_lag_blocks`?",
                "12 proxy.timeouts.connect: expected a text, found a whole number",
                "14 health.interval: expected a text, found a whole number",
                "15 proxi: unknown key `proxi`; did you mean `proxy`?",
            ]
        );
        let text = format!("{SMALL}    fall: 0\ndefault_network: etherium\nproxy:\n  listen: here\n  kind: apache\n");
        assert_eq!(
            faults(&text),
            [
                "7 networks.ethereum.fall: 1 to 100 is expected",
                "8 default_network: \"etherium\" is not one of the networks; did you mean `ethereum`?",
                "10 proxy.listen: \"here\" is not an address and port such as 127.0.0.1:8080 or 0.0.0.0:8080",
                "11 proxy.kind: unknown value \"apache\"; expected nginx or haproxy",
            ]
        );
    }

    #[test]
    fn lag_in_time_becomes_blocks_rounded_up() {
        let text = SMALL.replace("12s", "2s") + "    max_lag: 61s\n";
        let config = Config::read(&text).unwrap();
        assert_eq!(config.networks[&config.default_network].max_lag_blocks, 31);
        assert!(faults(&(text + "    max_lag_blocks: 3\n"))[0].contains("keep one of the two"));
    }

    /// The first was once let pass without its network, the second ended the program.
    #[test]
    fn times_beyond_all_range_are_faults() {
        let lag = SMALL.replace("12s", "10ms") + "    max_lag: 9223372036854775807s\n";
        assert_eq!(faults(&lag), ["7 networks.ethereum.max_lag: more than 1,000,000 blocks is no limit at all"]);
        let connect = format!(
            "{SMALL}proxy:\n  timeouts:\n    connect: 9223372036854775807s\n    attempt: 9223372036854775807s\n"
        );
        assert!(faults(&connect)[0].starts_with("9 proxy.timeouts.connect: "), "{:?}", faults(&connect));
    }

    /// nginx and HAProxy would refuse the file.
    #[test]
    fn an_address_with_a_scope_is_refused() {
        let faults =
            faults(&format!("{SMALL}proxy:\n  listen: '[fe80::1%3]:8080'\ngate:\n  listen: '[fe80::1%3]:9000'\n"));
        let [proxy, gate] = faults.as_slice() else { panic!("{faults:?}") };
        assert!(proxy.starts_with("8 proxy.listen: an address with a scope"), "{proxy}");
        assert!(gate.starts_with("10 gate.listen: an address with a scope"), "{gate}");
    }

    /// It was once that of all networks, or of another one.
    #[test]
    fn the_line_of_a_name_with_dots_is_its_own() {
        let one = |name: &str| SMALL.split_once('\n').unwrap().1.replace("ethereum", name);
        let found = faults(&format!("networks:\n{}{}{}", one("a"), one("a.b"), one("''")));
        let lines: Vec<_> = found.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["1 default_network", "7 networks.a.b", "12 networks."], "{found:?}");
    }

    #[test]
    fn a_number_that_is_none_is_no_way_to_leave_a_key_out() {
        let found = faults(&format!("{SMALL}    max_lag_blocks: .nan\n"));
        assert_eq!(found, ["7 : a number is expected that is neither infinite nor none"]);
    }

    #[test]
    fn a_fault_does_not_steer_the_terminal() {
        let found = faults(&format!("{SMALL}\"\\e[2J\\n\": 1\n"));
        assert!(found[0].starts_with("7 \\u{1b}[2J\\n: unknown key `\\u{1b}[2J\\n`"), "{found:?}");
    }

    #[test]
    fn a_leader_s_secret_must_be_listed() {
        let text = SMALL.replace("http://127.0.0.1:1", "https://mainnet.infura.io/v3/${KEY}");
        assert!(faults(&text)[0].contains("secret KEY is not listed under `secrets:`"), "{:?}", faults(&text));
        assert!(Config::read(&(text + "secrets:\n  KEY:\n    hosts: [mainnet.infura.io]\n")).is_ok());
    }

    #[test]
    fn garbage_is_a_fault_and_never_a_panic() {
        for text in
            ["", "networks: 7", "[]", "\u{0}", "networks: {a b: {}}", "networks:\n\t- x", "&a *a", "{", "!!binary x"]
        {
            assert!(Config::read(text).is_err(), "{text:?}");
        }
    }
}
