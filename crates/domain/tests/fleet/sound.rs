//! Checks which items of a list became nodes, by rules that are written down a second time here.

use std::collections::BTreeSet;

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Host, Item, Listed, Node, NodeUrl, Role, list};
use serde_json::Value;

use crate::nodes::SECRET_HOSTS;

/// Panics unless `listed` is what becomes of `items`.
pub(crate) fn check(items: &[Item], listed: &Listed, config: &Config) {
    let missing = &listed.missing;
    let written: Vec<_> = items.iter().chain(missing).cloned().collect();
    // An item is a node or it is rejected. A leader that is missing, or that cannot be used, counts as written.
    let of_config = config.networks.values().filter(|network| listed.nodes.contains(&network.leader)).count();
    let count = listed.nodes.len() + listed.rejected.len();
    assert!((items.len()..=items.len() + of_config).contains(&count), "{listed:?}");
    let (mut names, mut places, mut leaders) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for node in &listed.nodes {
        assert!(config.networks.contains_key(&node.network));
        assert!(is_plain(node.network.as_str(), 32) && is_plain(node.name.as_str(), 40), "{node:?}");
        assert!(names.insert((&node.network, &node.name)), "a name is there twice: {node:?}");
        assert!(places.insert((&node.network, &node.address.url)), "an address is there twice: {node:?}");
        assert!(node.role == Role::Node || leaders.insert(&node.network), "a second leader: {node:?}");
        assert!((1..=100).contains(&node.weight));
        let json = serde_json::to_string(node).unwrap();
        assert_eq!(
            serde_json::from_str::<Node>(&json).as_ref().ok(),
            Some(node),
            "does not read as what was written: {json}"
        );
        for url in std::iter::once(&node.address.url).chain(&node.address.ws_url) {
            check_url(url, node);
        }
    }
    for item in items {
        let urls = ["url", "ws_url"].into_iter().filter_map(|key| item.attributes.get(key).and_then(Value::as_str));
        for url in urls {
            check_reading(url);
        }
    }
    for rejected in &listed.rejected {
        let said = format!("{}{}{}", rejected.network, rejected.node, rejected.why);
        assert!(!said.contains(char::is_control), "{rejected:?}");
        assert!(!rejected.why.is_empty());
    }
    // The order of a list means nothing. Two items with one name cannot be in a table; the first of them wins.
    let keys: BTreeSet<_> = items.iter().map(|item| (&item.network, &item.node)).collect();
    if keys.len() == items.len() {
        let turned: Vec<_> = items.iter().rev().cloned().collect();
        let turned = list(&turned, config);
        assert_eq!((&turned.nodes, turned.rejected.len()), (&listed.nodes, listed.rejected.len()));
        // What is written of the missing reads as the same.
        assert_eq!(list(&written, config).nodes, listed.nodes);
    }
}

fn is_plain(name: &str, most: usize) -> bool {
    let ends = [name.chars().next(), name.chars().last()];
    name.len() <= most
        && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
        && ends.iter().all(|end| end.is_some_and(|c| c != '-'))
}

fn check_url(url: &NodeUrl, node: &Node) {
    let text = url.to_string();
    let is_safe = |c: char| c.is_ascii_alphanumeric() || ".-_~/:[]".contains(c);
    assert!(text.replace("${KEY}", "").chars().all(is_safe), "{text}");
    assert_eq!(text.parse::<NodeUrl>().as_ref(), Ok(url), "does not read as itself");
    let host = match url.host() {
        Host::Name(name) => {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)),
                "{name}"
            );
            // Some would read it as an address.
            assert!(name.rsplit('.').next().is_some_and(|last| last.parse::<u128>().is_err()), "{name}");
            assert_ne!(name, "unix");
            name.clone()
        }
        Host::V4(ip) => {
            assert_ne!(ip.octets()[..2], [169, 254], "{text}");
            ip.to_string()
        }
        Host::V6(ip) => {
            let segments = ip.segments();
            assert_ne!(segments[0] & 0xffc0, 0xfe80, "{text}");
            assert!(segments[..6] != [0, 0, 0, 0, 0, 0xffff] || segments[6] != 0xa9fe, "{text}");
            format!("[{ip}]")
        }
    };
    if url.scheme().is_tls() {
        let verified = node.address.host.as_ref().unwrap_or(url.host());
        assert!(matches!(verified, Host::Name(_)), "no certificate can be verified: {text}");
    }
    if text.contains('$') {
        let is_allowed = SECRET_HOSTS.iter().any(|rule| match rule.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => host == *rule,
        });
        assert!(is_allowed && (url.scheme().is_tls() || host == "localhost"), "a secret goes astray: {text}");
    }
}

/// What a URL says that has nothing odd in it: scheme, host, port and path.
fn reading(text: &str) -> Option<(&str, &str, u16, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let usual = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return None,
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let (host, port) = match authority.split_once(':') {
        None => (authority, usual),
        Some((host, port)) if port.len() <= 5 && !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse().ok()?)
        }
        Some(_) => return None,
    };
    // Names of letters alone; of addresses those that nobody could spell otherwise.
    let is_name = !host.is_empty() && host.len() < 60 && host != "unix" && host.bytes().all(|b| b.is_ascii_lowercase());
    let is_address = host.split('.').count() == 4
        && host.split('.').all(|part| part.parse::<u8>().is_ok_and(|number| number.to_string() == part));
    let is_path = !path.contains("/.") && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_~.".contains(&b));
    let is_short = text.len() < 500 && !path.contains("secret-reference");
    ((is_name || is_address) && is_path && is_short).then_some((
        scheme,
        host,
        port,
        if path.is_empty() { "/" } else { path },
    ))
}

fn check_reading(text: &str) {
    let read = text.parse::<NodeUrl>();
    if let Some(expected) = reading(text) {
        let found = read.as_ref().map(|url| (url.scheme().as_str(), url.host().to_string(), url.port(), url.path()));
        let (scheme, host, port, path) = expected;
        assert_eq!(found, Ok((scheme, host.to_owned(), port, path)), "{text}");
    }
    let Err(error) = read else { return };
    // A password and a query may be secrets, and a refusal is shown.
    let said = format!("{error} {error:?}");
    let (who, rest) = text.rsplit_once('@').unwrap_or_default();
    let password = who.split_once("//").map_or(who, |(_, who)| who);
    let query = if who.is_empty() { text } else { rest }.split_once('?').map_or("", |(_, query)| query);
    // What is short is found by chance, and what stands elsewhere in the address too is shown from there.
    let is_apart = |hidden: &str| hidden.len() >= 12 && !text.replacen(hidden, "\n", 1).contains(hidden);
    for hidden in [password, query].into_iter().filter(|hidden| is_apart(hidden)) {
        assert!(!said.contains(hidden), "{hidden} is shown: {said}");
    }
}
