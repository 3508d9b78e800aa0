//! One example of everything, as each proxy gets it. `UPDATE_GOLDEN=1 cargo test -p nodeweir-domain --test golden`
//! renews the files.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;

use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::fleet::node::Address;
use nodeweir_domain::fleet::render::{REVISION, render};
use nodeweir_domain::fleet::roster::{Member, Roster, Rosters, Source};

const CONFIG: &str = "
default_network: ethereum
networks:
  ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'https://mainnet.infura.io/v3/${INFURA_KEY}'}}
  polygon: {chain_id: 137, block_time: 2s, leader: {url: 'https://polygon-mainnet.infura.io/v3/${INFURA_KEY}'}}
  sepolia: {chain_id: 11155111, block_time: 12s, leader: {url: 'https://sepolia.infura.io/v3/${INFURA_KEY}'}}
secrets:
  INFURA_KEY: {hosts: ['*.infura.io']}
";

/// `url`, then for some a WebSocket address, then a Host of its own.
fn member(name: &str, weight: u16, url: &str, ws_url: &str, host: &str) -> Member {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let address = Address {
        url: url.parse().unwrap(),
        ws_url: some(ws_url).map(|url| url.parse().unwrap()),
        host: some(host).map(|host| host.try_into().unwrap()),
    };
    Member { name: name.parse().unwrap(), weight, address }
}

fn infura(host: &str) -> Member {
    let [http, ws] =
        [("https", "v3"), ("wss", "ws/v3")].map(|(s, p)| format!("{s}://{host}.infura.io/{p}/${{INFURA_KEY}}"));
    member("infura", 1, &http, &ws, "")
}

fn rosters() -> Rosters {
    BTreeMap::from([
        (
            "ethereum".parse().unwrap(),
            Roster {
                source: Source::Nodes,
                members: vec![
                    member("geth-1", 3, "http://10.0.0.1:8545", "ws://10.0.0.1:8546", ""),
                    member("geth-2", 1, "http://10.0.0.2:8545", "", ""),
                    member("reth-6", 1, "http://[2001:db8::6]:8545", "", ""),
                    member("named", 2, "http://node.internal.example:8545", "", ""),
                    member("vhost", 1, "http://10.0.0.3:8545", "", "rpc.example.org"),
                ],
                fallback: Some(infura("mainnet")),
            },
        ),
        (
            "polygon".parse().unwrap(),
            Roster { source: Source::Leader, members: vec![infura("polygon-mainnet")], fallback: None },
        ),
        ("sepolia".parse().unwrap(), Roster { source: Source::Nobody, members: vec![], fallback: None }),
    ])
}

/// The two proxies without the gate, and nginx with it.
const FILES: [(ProxyKind, &str, &str); 3] = [
    (ProxyKind::Nginx, "nginx.conf", "gate: {enabled: false}"),
    (ProxyKind::Haproxy, "haproxy.cfg", "gate: {enabled: false}"),
    (ProxyKind::Nginx, "nginx-gate.conf", "gate: {when_away: open, trusted_proxies: [10.0.0.0/8, '2001:db8::/32']}"),
];

#[test]
fn the_files_are_as_kept() {
    for (kind, name, gate) in FILES {
        let mut config = Config::read(&format!("{CONFIG}{gate}\n")).unwrap();
        config.proxy.kind = kind;
        let text = render(&rosters(), &config);
        assert_eq!(text, render(&rosters(), &config), "the same input gives the same bytes");
        assert_eq!(text.matches(REVISION).count(), 1);
        let stray: Vec<_> = text.lines().filter(|line| line.ends_with(' ')).collect();
        assert_eq!(stray, Vec::<&str>::new(), "{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        for (number, (new, old)) in text.lines().zip(kept.lines()).enumerate() {
            assert_eq!(new, old, "{}:{}: renew with UPDATE_GOLDEN=1", path.display(), number + 1);
        }
        assert_eq!(text.len(), kept.len(), "{}: renew with UPDATE_GOLDEN=1", path.display());
    }
}
