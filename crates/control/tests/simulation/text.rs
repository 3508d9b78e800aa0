//! Whom a proxy's configuration names, found by other means than those of `inspect`: the simulated machines' addresses
//! look like nothing else that stands there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use nodeweir_domain::fleet::node::Listed;
use regex::Regex;

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    let host = r"10(\.\d+){3}|[a-z0-9.-]+\.example|[a-z0-9.-]*infura\.io";
    Regex::new(&format!(r"sock/[a-z0-9-]+\.[a-z0-9.-]+\.sock|({host})(:\d+)?")).unwrap()
});

/// Every address that `body` names: a host, with or without a port, or a socket that leads to one node.
pub(crate) fn addresses(body: &str) -> BTreeSet<String> {
    ADDRESS.find_iter(body).map(|found| found.as_str().to_owned()).collect()
}

/// An address that is not one of a listed node.
pub(crate) fn stranger<'a>(addresses: &'a BTreeSet<String>, listed: &Listed) -> Option<&'a String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for node in &listed.nodes {
        let ws_url = node.address.ws_url.iter().map(|url| (url, ".ws"));
        for (url, kind) in ws_url.chain([(&node.address.url, "")]) {
            let socket = format!("sock/{}.{}{kind}.sock", node.network, node.name);
            known.extend([url.socket(), url.host().to_string(), socket]);
        }
    }
    addresses.iter().find(|address| !known.contains(*address))
}

#[test]
fn addresses_of_every_kind_are_found() {
    let body = "server 10.1.0.2:8545 weight=1; server unix:sock/ethereum.a.ws.sock; # 10.2 sock/x
        set $a \"https://mainnet.infura.io/v3/${INFURA_KEY}\"; server evil.example:1; proxy_ssl_name evil.example;";
    let expected = ["10.1.0.2:8545", "evil.example", "evil.example:1", "mainnet.infura.io", "sock/ethereum.a.ws.sock"];
    assert!(addresses(body).iter().eq(expected));
}
