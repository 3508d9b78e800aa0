//! From what stands in the table to nodes, item by item.

use std::collections::{BTreeMap, HashMap, HashSet};

use deserr::Deserr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Config;

use super::{Address, Cordon, Host, Node, NodeUrl, Role, SecretRules};
use crate::name::{NetworkId, NodeName, printable};
use crate::read::{self, Faults};

/// One item of the table `nodes`, exactly as a person or a program wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Partition key: the network.
    pub network: String,
    /// Sort key: the short name.
    pub node: String,
    /// All else: `url`, `role`, `weight`, `ws_url`, `host`, `cordon`, `note`.
    pub attributes: Map<String, Value>,
}

/// An item that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The item's network, as written.
    pub network: String,
    /// The item's name, as written.
    pub node: String,
    /// What is wrong and what was expected.
    pub why: String,
}

/// What a list of items comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Usable nodes, by network and name.
    pub nodes: Vec<Node>,
    /// Items that are not, in the order of the list.
    pub rejected: Vec<Rejected>,
    /// Leaders that the configuration names and the table lacks; they are to be written there.
    pub missing: Vec<Item>,
}

impl Listed {
    /// The nodes of one network, leader included, by name.
    pub fn of<'a>(&'a self, network: &'a NetworkId) -> impl Iterator<Item = &'a Node> + 'a {
        self.nodes.iter().filter(move |node| node.network == *network)
    }
}

/// An item's attributes as written.
#[derive(Debug, Deserr)]
#[deserr(error = Faults, deny_unknown_fields)]
struct Attributes {
    #[deserr(try_from(&String) = text_to_url -> super::BadUrl)]
    url: NodeUrl,
    #[deserr(default)]
    role: Option<String>,
    #[deserr(default)]
    weight: Option<u64>,
    #[deserr(default, try_from(Option<String>) = text_to_ws_url -> super::BadUrl)]
    ws_url: Option<NodeUrl>,
    #[deserr(default)]
    host: Option<String>,
    #[deserr(default)]
    cordon: Option<CordonWritten>,
    #[deserr(default)]
    #[expect(dead_code, reason = "a note is for people; it is accepted and nothing follows from it")]
    note: Option<String>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Faults, deny_unknown_fields)]
struct CordonWritten {
    #[deserr(default)]
    by: String,
    #[deserr(default)]
    why: String,
    #[deserr(default)]
    at: Option<String>,
    #[deserr(default)]
    until: Option<String>,
}

#[expect(clippy::ptr_arg, reason = "deserr hands over a String")]
fn text_to_url(text: &String) -> Result<NodeUrl, super::BadUrl> {
    text.parse::<NodeUrl>()?.expect_http()
}

fn text_to_ws_url(text: Option<String>) -> Result<Option<NodeUrl>, super::BadUrl> {
    text.map(|text| text.parse::<NodeUrl>()?.expect_websocket()).transpose()
}

fn rejected(item: &Item, why: String) -> Rejected {
    let [network, node] = [&item.network, &item.node].map(|name| printable(crate::name::shown(name)));
    Rejected { network, node, why: printable(why) }
}

/// Reads one item on its own. `leaders` names every network of the configuration and its leader; `allow_link_local`
/// permits addresses such as 169.254.169.254, where clouds keep credentials.
fn read_item(
    item: &Item,
    leaders: &BTreeMap<NetworkId, NodeName>,
    secrets: &SecretRules,
    allow_link_local: bool,
) -> Result<Node, String> {
    let network: NetworkId = item.network.parse().map_err(|error: crate::name::BadName| error.to_string())?;
    let name: NodeName = item.node.parse().map_err(|error: crate::name::BadName| error.to_string())?;
    if !leaders.contains_key(&network) {
        let known: Vec<_> = leaders.keys().map(NetworkId::as_str).collect();
        let near = read::did_you_mean(network.as_str(), known.iter().copied());
        return Err(format!("network {network} is not in the configuration, which has {}{near}", known.join(", ")));
    }
    let written: Attributes = read::read(Value::Object(item.attributes.clone())).map_err(|faults| {
        let each = faults.0.iter().map(|fault| match fault.place() {
            place if place.is_empty() => fault.problem.clone(),
            place => format!("{place}: {}", fault.problem),
        });
        each.collect::<Vec<_>>().join("; ")
    })?;
    let role = match written.role.as_deref() {
        None | Some("node") => Role::Node,
        Some("leader") => Role::Leader,
        Some(other) => {
            return Err(format!("role: unknown value {:?}; expected node or leader", crate::name::shown(other)));
        }
    };
    let weight = written.weight.unwrap_or(1);
    let weight = u16::try_from(weight)
        .ok()
        .filter(|w| (1..=100).contains(w))
        .ok_or_else(|| format!("weight: {weight} is not between 1 and 100; to keep traffic away use `node cordon`"))?;
    let host = written.host.map(Host::try_from).transpose().map_err(|why| format!("host: {why}"))?;
    let cordon = written.cordon.map(read_cordon).transpose()?;
    for url in std::iter::once(&written.url).chain(&written.ws_url) {
        secrets.check(url).map_err(|error| error.to_string())?;
        let ip = match url.host() {
            Host::Name(_) => None,
            Host::V4(ip) => Some((*ip).into()),
            Host::V6(ip) => Some((*ip).into()),
        };
        if url.scheme().is_tls() && host.as_ref().unwrap_or(url.host()).is_ip() {
            // Neither nginx nor HAProxy compares an address with a certificate, not even with one that names it.
            return Err(format!(
                "url: {url} has an address where a certificate is to be verified; set `host` to the name in the certificate"
            ));
        }
        if !allow_link_local && ip.is_some_and(is_link_local) {
            return Err(format!(
                "url: {} is a link-local address, where clouds keep credentials; set health.allow_link_local if it is really a node",
                url.host()
            ));
        }
    }
    let address = Address { url: written.url, ws_url: written.ws_url, host };
    Ok(Node { network, name, role, weight, address, cordon })
}

fn read_cordon(written: CordonWritten) -> Result<Cordon, String> {
    let time = |key: &str, text: &str| {
        text.parse().map_err(|_| {
            format!("cordon.{key}: {:?} is not a time such as 2026-01-31T12:00:00Z", crate::name::shown(text))
        })
    };
    Ok(Cordon {
        by: written.by,
        why: written.why,
        at: written.at.as_deref().map(|text| time("at", text)).transpose()?.unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        until: written.until.as_deref().map(|text| time("until", text)).transpose()?,
    })
}

/// Whether `ip` is link-local (169.254.0.0/16, `fe80::/10`, or the first written as IPv6) or a cloud's metadata
/// address in IPv6.
pub fn is_link_local(ip: std::net::IpAddr) -> bool {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip == std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

/// Reads a whole table. Items are judged one by one; then, among those that passed, a second leader of a network and
/// a second node at the same URL are rejected: the leader that the configuration names wins, else the first by name.
pub fn read_items(
    items: &[Item],
    leaders: &BTreeMap<NetworkId, NodeName>,
    secrets: &SecretRules,
    allow_link_local: bool,
) -> Listed {
    let mut listed = Listed::default();
    let mut passed: Vec<(&Item, Node)> = Vec::new();
    for item in items {
        match read_item(item, leaders, secrets, allow_link_local) {
            Ok(node) => passed.push((item, node)),
            Err(why) => listed.rejected.push(rejected(item, why)),
        }
    }
    // The named leader first, so that it is the one that is kept.
    let named = |node: &Node| leaders.get(&node.network) == Some(&node.name);
    passed.sort_by(|(_, a), (_, b)| (&a.network, !named(a), &a.name).cmp(&(&b.network, !named(b), &b.name)));
    let mut leader_of: HashMap<NetworkId, NodeName> = HashMap::new();
    let mut node_at: HashMap<(NetworkId, NodeUrl), NodeName> = HashMap::new();
    let mut names: HashSet<(NetworkId, NodeName)> = HashSet::new();
    for (item, node) in passed {
        let at = (node.network.clone(), node.address.url.clone());
        if !names.insert((node.network.clone(), node.name.clone())) {
            listed.rejected.push(rejected(item, "there is another item with this name".to_owned()));
        } else if let Some(first) = leader_of.get(&node.network).filter(|_| node.role == Role::Leader) {
            listed.rejected.push(rejected(item, format!("role: {first} is already the leader of {}", node.network)));
        } else if let Some(first) = node_at.get(&at) {
            listed
                .rejected
                .push(rejected(item, format!("url: {} is already the address of {first}", node.address.url)));
        } else {
            if node.role == Role::Leader {
                leader_of.insert(node.network.clone(), node.name.clone());
            }
            node_at.insert(at, node.name.clone());
            listed.nodes.push(node);
        }
    }
    listed.nodes.sort_by(|a, b| (&a.network, &a.name).cmp(&(&b.network, &b.name)));
    listed
}

/// Reads a whole table under a configuration.
///
/// Every network has a leader afterwards, unless an own node took its name or its address: where the table has no usable one, the
/// configuration's stands in, so that a typo in the leader's item does not take the fallback away.
pub fn list(items: &[Item], config: &Config) -> Listed {
    let mut listed = read_items(items, &config.leaders(), &config.secrets, config.health.allow_link_local);
    for (id, network) in &config.networks {
        let leader = &network.leader;
        // The address may be an own node's too; then the node keeps it, as a second entry would only compete with it, and
        // once it were written, the leader would win and the node be rejected.
        let is_taken = |node: &Node| {
            node.role == Role::Leader || node.name == leader.name || node.address.url == leader.address.url
        };
        if listed.of(id).any(is_taken) {
            continue;
        }
        if !items.iter().any(|item| item.network == id.as_str() && item.node == leader.name.as_str()) {
            listed.missing.push(leader_item(leader));
        }
        listed.nodes.push(leader.clone());
    }
    listed.nodes.sort_by(|a, b| (&a.network, &a.name).cmp(&(&b.network, &b.name)));
    listed
}

/// A leader as the configuration names it, as an item of the table.
fn leader_item(leader: &Node) -> Item {
    let address = &leader.address;
    let mut attributes = Map::from_iter([
        ("role".to_owned(), Value::from("leader")),
        ("url".to_owned(), Value::from(address.url.to_string())),
    ]);
    attributes.extend(address.ws_url.as_ref().map(|url| ("ws_url".to_owned(), Value::from(url.to_string()))));
    attributes.extend(address.host.as_ref().map(|host| ("host".to_owned(), Value::from(host.to_string()))));
    Item { network: leader.network.to_string(), node: leader.name.to_string(), attributes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(node: &str, attributes: Value) -> Item {
        let Value::Object(attributes) = attributes else { panic!("attributes are a mapping") };
        Item { network: "ethereum".to_owned(), node: node.to_owned(), attributes }
    }

    fn read_all(items: &[Item]) -> Listed {
        let leaders = BTreeMap::from([("ethereum".parse().unwrap(), "infura".parse().unwrap())]);
        read_items(items, &leaders, &SecretRules::default(), false)
    }

    fn refusal(attributes: Value) -> String {
        let listed = read_all(&[item("a", attributes)]);
        assert_eq!(listed.nodes, [], "was accepted");
        listed.rejected[0].why.clone()
    }

    #[test]
    fn a_good_item_is_a_node() {
        let listed = read_all(&[item("a", json!({"url": "http://10.0.0.1:8545", "weight": 3, "note": "rack 4"}))]);
        assert_eq!(listed.rejected, []);
        let node = &listed.nodes[0];
        assert_eq!(
            (node.weight, node.role, node.address.url.to_string().as_str()),
            (3, Role::Node, "http://10.0.0.1:8545")
        );
    }

    #[test]
    fn each_fault_is_named() {
        for (attributes, part) in [
            (json!({}), "`url` is missing"),
            (json!({"url": 7}), "url: expected a text, found a whole number"),
            (json!({"url": "http://a", "wieght": 1}), "unknown key `wieght`; did you mean `weight`?"),
            (json!({"url": "http://a", "weight": 0}), "weight: 0 is not between 1 and 100"),
            (json!({"url": "http://a", "weight": "3"}), "weight: expected a whole number, found a text"),
            (json!({"url": "http://a", "role": "king"}), "role: unknown value \"king\""),
            (json!({"url": "ws://a"}), "must start with http:// or https://"),
            (json!({"url": "http://a", "ws_url": "http://a"}), "must start with ws:// or wss://"),
            (json!({"url": "https://a", "host": "10.0.0.1"}), "set `host` to the name in the certificate"),
            (json!({"url": "https://10.0.0.1"}), "set `host` to the name in the certificate"),
            (json!({"url": "http://a", "host": "a b"}), "host: \"a b\" is not a host"),
            (json!({"url": "https://a/${KEY}"}), "secret KEY is not listed"),
            (json!({"url": "http://169.254.169.254/latest"}), "link-local"),
            (json!({"url": "http://[::ffff:169.254.1.1]/"}), "link-local"),
            (
                json!({"url": "http://a", "cordon": {"by": "me", "until": "soon"}}),
                "cordon.until: \"soon\" is not a time",
            ),
        ] {
            let why = refusal(attributes);
            assert!(why.contains(part), "{why:?} does not say {part:?}");
        }
    }

    #[test]
    fn one_bad_item_leaves_the_others() {
        let good = item("b", json!({"url": "http://b:1"}));
        let bad = item("a", json!({"url": "nonsense"}));
        let mut elsewhere = item("c", json!({"url": "http://c:1"}));
        elsewhere.network = "etherium".to_owned();
        let listed = read_all(&[bad, good, elsewhere]);
        assert_eq!(listed.nodes.len(), 1);
        assert_eq!(listed.rejected.len(), 2);
        assert!(listed.rejected[1].why.contains("did you mean `ethereum`?"), "{:?}", listed.rejected[1]);
    }

    #[test]
    fn a_network_always_has_its_leader() {
        let config = "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader:\n      url: http://127.0.0.1:1\n";
        let config = Config::read(config).unwrap();
        let own = item("a", json!({"url": "http://10.0.0.1:8545"}));
        let listed = list(std::slice::from_ref(&own), &config);
        let names: Vec<_> = listed.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((names, listed.missing.len()), (vec!["a", "infura"], 1));
        let written = list(&[own.clone(), listed.missing[0].clone()], &config);
        assert_eq!((&written.nodes, written.missing.len()), (&listed.nodes, 0), "what was written reads as the same");
        let typo = list(&[own, item("infura", json!({"role": "leader", "url": "htp://x"}))], &config);
        assert_eq!((typo.nodes, typo.missing.len(), typo.rejected.len()), (listed.nodes, 0, 1));
    }

    /// The leader was once written beside it, and at the next reading won the address, so that the node was rejected.
    #[test]
    fn a_node_at_the_leader_s_address_keeps_it() {
        let config = "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader:\n      url: http://127.0.0.1:1\n";
        let config = Config::read(config).unwrap();
        let own = item("a", json!({"url": "http://127.0.0.1:1"}));
        let listed = list(std::slice::from_ref(&own), &config);
        let names: Vec<_> = listed.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((names, listed.missing, listed.rejected), (vec!["a"], vec![], vec![]));
    }

    #[test]
    fn the_named_leader_wins_and_an_address_counts_once() {
        let listed = read_all(&[
            item("aaa", json!({"url": "http://x:1", "role": "leader"})),
            item("infura", json!({"url": "http://y:1", "role": "leader"})),
            item("n1", json!({"url": "http://z:1"})),
            item("n2", json!({"url": "http://z:1/"})),
        ]);
        let names: Vec<_> = listed.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["infura", "n1"]);
        assert_eq!(listed.rejected.len(), 2);
    }
}
