//! The gate's settings, checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::{Check, check_address};
use crate::config::gate::{Gate, GateAddress, LimitStore, Shield, WhenAway};
use crate::config::redis::RedisUrl;
use crate::config::written::gate::{GateWritten, PricesWritten, TierWritten};
use crate::fleet::node::SecretRules;
use crate::gate::method::MethodPattern;
use crate::gate::price::{Prices, Table};
use crate::gate::project::{MOST_CREDITS, MOST_RATE, Tier};
use crate::gate::restrict::parse_range;
use crate::name::{TierName, shown};
use crate::read::did_you_mean;

/// Tiers that exist without being written: name, requests per second, credits per month.
const TIERS: [(&str, Option<u32>, Option<u64>); 5] = [
    ("free", Some(10), Some(1_000_000)),
    ("developer", Some(50), Some(10_000_000)),
    ("business", Some(200), Some(30_000_000)),
    ("professional", Some(1_000), Some(100_000_000)),
    ("enterprise", None, None),
];

/// The most that one call may cost.
const MOST_PRICE: u64 = 1_000_000_000;

/// The most connections of one address that nginx can count.
const MOST_CONNECTIONS: u32 = 65_535;

/// `networks` are all networks that are written.
pub(super) fn gate(
    check: &mut Check,
    written: GateWritten,
    networks: &[String],
    secrets: &SecretRules,
    listen: Option<SocketAddr>,
) -> Option<Gate> {
    let when_away = match written.when_away.as_str() {
        "closed" => Some(WhenAway::Closed),
        "open" => Some(WhenAway::Open),
        other => {
            check.fault("gate.when_away", format!("unknown value {:?}; expected closed or open", shown(other)));
            None
        }
    };
    let gate_address = if written.listen == "socket" {
        Some(GateAddress::Socket)
    } else {
        address(check, "gate.listen", &written.listen, "socket, or an address and port such as 127.0.0.1:8082")
            .map(GateAddress::Tcp)
    };
    let admin = address(check, "gate.admin", &written.admin, "an address and port such as 127.0.0.1:8081");
    let tcp = match gate_address {
        Some(GateAddress::Tcp(address)) => Some(address),
        _ => None,
    };
    if written.enabled {
        for (key, one, other, of) in [
            ("gate.admin", admin, listen, "proxy.listen"),
            ("gate.listen", tcp, listen, "proxy.listen"),
            ("gate.admin", admin, tcp, "gate.listen"),
        ] {
            if one.zip(other).is_some_and(|(one, other)| one.port() == other.port()) {
                check.fault(key, format!("`{of}` has the same port; give this one another"));
            }
        }
    }
    let mut trusted_proxies = Vec::new();
    for range in &written.trusted_proxies {
        trusted_proxies.extend(check.take("gate.trusted_proxies", parse_range(range)));
    }
    let limits = limits(check, &written.limits.store, secrets);
    let shield = &written.shield;
    let shield = rate(check, "gate.shield.requests_per_second", shield.requests_per_second)
        .zip(count(check, "gate.shield.connections", shield.connections, MOST_CONNECTIONS))
        .map(|(requests_per_second, connections)| Shield { requests_per_second, connections });
    if !(1..=1000).contains(&written.batch) {
        check.fault("gate.batch", "1 to 1000 is expected");
    }
    if written.overdraft_percent > 100 {
        check.fault("gate.overdraft_percent", "0 to 100 is expected");
    }
    let prices = prices(check, written.prices, networks);
    let tiers = tiers(check, written.tiers.0);
    Some(Gate {
        enabled: written.enabled,
        when_away: when_away?,
        listen: gate_address?,
        admin: admin?,
        trusted_proxies,
        limits: limits?,
        shield: shield?,
        batch: written.batch,
        overdraft_percent: written.overdraft_percent,
        prices: prices?,
        tiers,
    })
}

fn address(check: &mut Check, path: &str, text: &str, expected: &str) -> Option<SocketAddr> {
    let parsed = text.parse().map_err(|_| format!("{:?} is not {expected}", shown(text)));
    let address: SocketAddr = check.take(path, parsed)?;
    check_address(check, path, Some(address));
    Some(address)
}

fn limits(check: &mut Check, store: &str, secrets: &SecretRules) -> Option<LimitStore> {
    const KEY: &str = "gate.limits.store";
    if store == "local" {
        return Some(LimitStore::Local);
    }
    let url: RedisUrl = check.take(KEY, store.parse())?;
    if let Some(name) = &url.password {
        check.take(KEY, secrets.allow(name, &url.host, url.is_tls))?;
    }
    Some(LimitStore::Redis(url))
}

fn rate(check: &mut Check, path: &str, per_second: u32) -> Option<NonZeroU32> {
    count(check, path, per_second, MOST_RATE)
}

fn count(check: &mut Check, path: &str, count: u32, most: u32) -> Option<NonZeroU32> {
    let count = NonZeroU32::new(count).filter(|count| count.get() <= most);
    if count.is_none() {
        check.fault(path, format!("1 to {most} is expected"));
    }
    count
}

fn credits(check: &mut Check, path: &str, count: u64) {
    if count > MOST_CREDITS {
        check.fault(path, format!("0 to {MOST_CREDITS} credits are expected"));
    }
}

fn prices(check: &mut Check, written: PricesWritten, names: &[String]) -> Option<Prices> {
    let table = Table::ALL.into_iter().find(|table| table.as_str() == written.table);
    if table.is_none() {
        let given = shown(&written.table);
        check.fault("gate.prices.table", format!("unknown value {given:?}; expected nexus, infura or alchemy"));
    }
    let mut all = vec![("gate.prices.methods".to_owned(), &written.methods.0)];
    all.extend(written.networks.0.iter().map(|(name, own)| (format!("gate.prices.networks.{name}"), &own.0)));
    let mut faults = Vec::new();
    for (path, prices) in all {
        for (method, price) in prices {
            if method.ends_with('*') || method.parse::<MethodPattern>().is_err() {
                faults.push((
                    format!("{path}.{method}"),
                    "a method's whole name is expected, such as eth_call".to_owned(),
                ));
            }
            if *price > MOST_PRICE {
                faults.push((format!("{path}.{method}"), format!("0 to {MOST_PRICE} credits are expected")));
            }
        }
    }
    if written.default.is_some_and(|price| price > MOST_PRICE) {
        faults.push(("gate.prices.default".to_owned(), format!("0 to {MOST_PRICE} credits are expected")));
    }
    let mut networks = BTreeMap::new();
    for (name, own) in written.networks.0 {
        if !names.contains(&name) {
            let near = did_you_mean(&name, names.iter().map(String::as_str));
            faults.push((
                format!("gate.prices.networks.{name}"),
                format!("{:?} is not one of the networks{near}", shown(&name)),
            ));
        }
        networks.extend(name.parse().ok().map(|id| (id, own.0)));
    }
    for (path, problem) in faults {
        check.fault(&path, problem);
    }
    Some(Prices { table: table?, default: written.default, methods: written.methods.0, networks })
}

fn tiers(check: &mut Check, written: BTreeMap<String, TierWritten>) -> BTreeMap<TierName, Tier> {
    let mut tiers: BTreeMap<TierName, Tier> = TIERS
        .into_iter()
        .filter_map(|(name, rate, credits_per_month)| {
            let requests_per_second = rate.and_then(NonZeroU32::new);
            let tier = Tier { requests_per_second, credits_per_month, methods: Vec::new(), websocket: false };
            Some((name.parse().ok()?, tier))
        })
        .collect();
    for (name, tier) in written {
        let path = format!("gate.tiers.{name}");
        let requests_per_second =
            tier.requests_per_second.and_then(|count| rate(check, &format!("{path}.requests_per_second"), count));
        if let Some(count) = tier.credits_per_month {
            credits(check, &format!("{path}.credits_per_month"), count);
        }
        let mut methods = Vec::new();
        for method in &tier.methods {
            let path = format!("{path}.methods");
            let Some(pattern) = check.take::<MethodPattern, _>(&path, method.parse()) else { continue };
            if !pattern.can_be_granted() {
                check
                    .fault(&path, format!("{pattern} cannot be given: only debug_* and trace_* can, whole or in part"));
            }
            methods.push(pattern);
        }
        let websocket = match tier.websocket.as_str() {
            "refused" => false,
            "unmetered" => true,
            other => {
                let path = format!("{path}.websocket");
                check.fault(&path, format!("unknown value {:?}; expected refused or unmetered", shown(other)));
                continue;
            }
        };
        let Some(name) = check.take::<TierName, _>(&path, name.parse()) else { continue };
        tiers.insert(name, Tier { requests_per_second, credits_per_month: tier.credits_per_month, methods, websocket });
    }
    tiers
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const SMALL: &str =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader:\n      url: http://127.0.0.1:1\n";

    fn faults(text: &str) -> Vec<String> {
        Config::read(text).unwrap_err().0.into_iter().map(|f| format!("{} {}: {}", f.line, f.key, f.problem)).collect()
    }

    #[test]
    fn the_gate_stands_unless_it_is_switched_off() {
        let gate = Config::read(SMALL).unwrap().gate;
        assert!(gate.enabled);
        let free = &gate.tiers[&"free".parse().unwrap()];
        assert_eq!((free.requests_per_second.unwrap().get(), free.credits_per_month), (10, Some(1_000_000)));
        assert_eq!(gate.tiers[&"enterprise".parse().unwrap()].requests_per_second, None);
        assert!(gate.tiers.values().all(|tier| !tier.websocket && tier.methods.is_empty()));
        assert!(!Config::read(&format!("{SMALL}gate:\n  enabled: false\n")).unwrap().gate.enabled);
    }

    #[test]
    fn a_written_tier_replaces_the_one_of_its_name() {
        let text = format!(
            "{SMALL}gate:\n  tiers:\n    free: {{requests_per_second: 2, credits_per_month: 5, websocket: unmetered}}\n    own:\n      methods: [debug_*]\n"
        );
        let gate = Config::read(&text).unwrap().gate;
        let free = &gate.tiers[&"free".parse().unwrap()];
        assert_eq!((free.requests_per_second.unwrap().get(), free.websocket), (2, true));
        assert_eq!(gate.tiers.len(), 6);
        assert_eq!(gate.tiers[&"own".parse().unwrap()].methods[0].as_str(), "debug_*");
    }

    /// More was once taken for the most that nginx can count, and nobody was told.
    #[test]
    fn more_connections_than_nginx_can_count_are_refused() {
        let with = |count| format!("{SMALL}gate:\n  shield:\n    connections: {count}\n");
        assert_eq!(Config::read(&with(65_535)).unwrap().gate.shield.connections.get(), 65_535);
        assert_eq!(faults(&with(65_536)), ["9 gate.shield.connections: 1 to 65535 is expected"]);
    }

    #[test]
    fn a_password_of_redis_is_a_secret_for_its_host() {
        let with = |store: &str| {
            format!("{SMALL}secrets:\n  REDIS: {{hosts: [cache.example.com]}}\ngate:\n  limits:\n    store: {store}\n")
        };
        let read = |store: &str| Config::read(&with(store)).map(|config| config.gate.limits.to_string());
        assert_eq!(read("local").unwrap(), "local");
        assert_eq!(read("redis://cache.example.com").unwrap(), "redis://cache.example.com:6379/0");
        assert!(read("rediss://:${REDIS}@cache.example.com").is_ok());
        for (store, problem) in [
            ("redis", "\"redis\" is not local, nor does it start with redis:// or rediss://"),
            (
                "rediss://gate:hunter2@cache.example.com",
                "the password must be a reference: write :${NAME}@ before the host, and NAME under `secrets`",
            ),
            (
                "rediss://:${OTHER}@cache.example.com",
                "secret OTHER is not listed under `secrets:` in the configuration",
            ),
            (
                "rediss://:${REDIS}@other.example.com",
                "secret REDIS may not be sent to other.example.com: add that host to secrets.REDIS.hosts if it should be",
            ),
            (
                "redis://:${REDIS}@cache.example.com",
                "secret REDIS would travel unencrypted: use https://, wss:// or rediss://",
            ),
        ] {
            assert_eq!(faults(&with(store)), [format!("11 gate.limits.store: {problem}")]);
        }
    }

    #[test]
    fn every_fault_of_the_gate_is_told_with_its_line() {
        let text = format!(
            "{SMALL}gate:\n  when_away: ajar\n  listen: here\n  admin: 127.0.0.1:8080\n  trusted_proxies: [10.0.0.0/99]\n  \
             batch: 0\n  shield:\n    connections: 0\n  prices:\n    table: nexsus\n    methods:\n      eth_*: 1\n    \
             networks:\n      etherium: {{eth_call: 1}}\n  tiers:\n    free:\n      requests_per_second: 0\n      \
             methods: [eth_call]\n      websocket: yes please\n"
        );
        assert_eq!(
            faults(&text),
            [
                "8 gate.when_away: unknown value \"ajar\"; expected closed or open",
                "9 gate.listen: \"here\" is not socket, or an address and port such as 127.0.0.1:8082",
                "10 gate.admin: `proxy.listen` has the same port; give this one another",
                "11 gate.trusted_proxies: \"10.0.0.0/99\" is not an address or range such as 192.0.2.7 or 10.0.0.0/8",
                "12 gate.batch: 1 to 1000 is expected",
                "14 gate.shield.connections: 1 to 65535 is expected",
                "16 gate.prices.table: unknown value \"nexsus\"; expected nexus, infura or alchemy",
                "18 gate.prices.methods.eth_*: a method's whole name is expected, such as eth_call",
                "20 gate.prices.networks.etherium: \"etherium\" is not one of the networks; did you mean `ethereum`?",
                "23 gate.tiers.free.requests_per_second: 1 to 1000000 is expected",
                "24 gate.tiers.free.methods: eth_call cannot be given: only debug_* and trace_* can, whole or in part",
                "25 gate.tiers.free.websocket: unknown value \"yes please\"; expected refused or unmetered",
            ]
        );
    }
}
