//! A second look at what is about to be published, by other means than those that made it.
//!
//! Findings of [`Severity::Forbid`] are faults of this program; publishing is refused and the last good revision
//! stays. The others are news for people.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Config, GateAddress, ProxyKind};
use crate::fleet::judge::Health;
use crate::fleet::node::{Listed, Node, NodeUrl};
use crate::fleet::render::REVISION;
use crate::fleet::roster::{Rosters, Source, is_eligible};
use crate::name::{NetworkId, NodeName};

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A person should know.
    Warn,
    /// It must not be published.
    Forbid,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A fault of this program.
    Fault,
    /// Who serves, where that is not the healthy own nodes.
    Source,
    /// A roster that loses more than half of its nodes at once.
    Shrunk,
}

impl Kind {
    fn severity(self) -> Severity {
        match self {
            Self::Fault => Severity::Forbid,
            Self::Source | Self::Shrunk => Severity::Warn,
        }
    }
}

/// Something worth saying about a set of rosters and their text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What follows.
    pub severity: Severity,
    /// What it is about.
    pub kind: Kind,
    /// About which network, if about one.
    pub network: Option<NetworkId>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.network {
            Some(network) => write!(f, "{network}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What there is to look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What is about to be published.
    pub rosters: &'a Rosters,
    /// Its text.
    pub body: &'a str,
    /// What was published last.
    pub previous: Option<&'a Rosters>,
    /// Under which settings.
    pub config: &'a Config,
    /// The node list as it is now.
    pub listed: &'a Listed,
    /// Health as it is now.
    pub health: &'a BTreeMap<NetworkId, Health>,
    /// Now.
    pub now: Timestamp,
}

/// Finds all there is to say, worst first.
pub fn inspect(look: Look<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |kind: Kind, network: Option<&NetworkId>, what: String| {
        findings.push(Finding { severity: kind.severity(), kind, network: network.cloned(), what });
    };
    if look.rosters.is_empty() {
        say(Kind::Fault, None, "a file without any network would be published".to_owned());
    }
    for network in look.config.networks.keys().filter(|network| !look.rosters.contains_key(network)) {
        say(Kind::Fault, Some(network), "the network has no roster".to_owned());
    }
    let unknown = Health::default();
    let nodes: HashMap<_, &Node> = look.listed.nodes.iter().map(|node| ((&node.network, &node.name), node)).collect();
    for (network, roster) in look.rosters {
        let health = look.health.get(network).unwrap_or(&unknown);
        for member in roster.everyone() {
            match nodes.get(&(network, &member.name)).filter(|node| node.address == member.address) {
                None => say(
                    Kind::Fault,
                    Some(network),
                    format!("{} is in the roster but not in the node list", member.name),
                ),
                Some(node) if !is_eligible(node, health, look.now) => {
                    say(
                        Kind::Fault,
                        Some(network),
                        format!("{} is in the roster but cordoned or on a wrong chain", member.name),
                    );
                }
                Some(_) => {}
            }
        }
        match roster.source {
            Source::Nodes => {}
            Source::Leader => {
                say(Kind::Source, Some(network), "no own node serves; the leader serves alone".to_owned())
            }
            Source::Answering => {
                say(Kind::Source, Some(network), "nobody is healthy; nodes that merely answer serve".to_owned())
            }
            Source::CarriedOver => {
                say(Kind::Source, Some(network), "nothing answers; the previous roster is kept".to_owned())
            }
            Source::Nobody => say(Kind::Source, Some(network), "nobody is left; requests are answered 503".to_owned()),
        }
        let before = look.previous.and_then(|previous| previous.get(network)).map_or(0, |roster| roster.members.len());
        if roster.members.len() * 2 < before {
            say(Kind::Shrunk, Some(network), format!("the roster shrinks from {before} to {}", roster.members.len()));
        }
    }
    inspect_text(look, &mut say);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Reads the text again, as far as needed to see whom it names.
fn inspect_text(look: Look<'_>, say: &mut impl FnMut(Kind, Option<&NetworkId>, String)) {
    if holds_control_character(look.body) {
        say(Kind::Fault, None, "the text holds a control character".to_owned());
    }
    if !look.body.contains(REVISION) {
        say(Kind::Fault, None, format!("the text does not say where the revision's name belongs ({REVISION})"));
    }
    let kind = look.config.proxy.kind;
    let named: BTreeSet<&str> = servers(kind, look.body).collect();
    let known: HashSet<String> = look
        .listed
        .nodes
        .iter()
        .flat_map(|node| {
            let urls = std::iter::once(&node.address.url).chain(&node.address.ws_url);
            urls.flat_map(|url| addresses(kind, &node.network, &node.name, url))
        })
        .chain(gate(look.config))
        .collect();
    for stranger in named.iter().filter(|address| !known.contains(**address)) {
        say(Kind::Fault, None, format!("the text names {stranger:?}, which is nobody's address"));
    }
    for (network, roster) in look.rosters {
        for member in roster.everyone() {
            let mut addresses = addresses(kind, network, &member.name, &member.address.url);
            if !addresses.any(|address| named.contains(address.as_str())) {
                say(Kind::Fault, Some(network), format!("{} is in the roster but not in the text", member.name));
            }
        }
    }
}

fn holds_control_character(body: &str) -> bool {
    // Most bodies are long and all ASCII. Without a way out of the loop the compiler looks at many bytes at once.
    if body.is_ascii() {
        body.bytes().filter(|b| b.is_ascii_control() && *b != b'\n' && *b != b'\t').count() > 0
    } else {
        body.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
    }
}

/// Either form in which a node's address may stand in a text: itself, or its internal socket.
fn addresses(kind: ProxyKind, network: &NetworkId, name: &NodeName, url: &NodeUrl) -> impl Iterator<Item = String> {
    let ws = if url.scheme().is_websocket() { ".ws" } else { "" };
    let unix = match kind {
        ProxyKind::Nginx => "unix:",
        ProxyKind::Haproxy => "unix@",
    };
    let socket = move || format!("{unix}sock/{network}.{name}{ws}.sock");
    std::iter::once(url.socket()).chain(std::iter::once_with(socket))
}

/// Where the gate is, which stands in a group of its own.
fn gate(config: &Config) -> Option<String> {
    let is_asked = config.gate.enabled && config.proxy.kind == ProxyKind::Nginx;
    is_asked.then(|| match config.gate.listen {
        GateAddress::Socket => "unix:sock/gate.sock".to_owned(),
        GateAddress::Tcp(address) => address.to_string(),
    })
}

/// The address of each line that adds a server to a group.
fn servers(kind: ProxyKind, body: &str) -> impl Iterator<Item = &str> {
    // In a file of nginx such a line means this only inside `upstream`: a network may be called `server`.
    let mut is_group = false;
    // Few of many lines are of interest; only those are taken apart.
    let is_of_interest = |line: &&str| line.trim_ascii_start().starts_with(['s', 'u', '}']);
    body.lines().filter(is_of_interest).filter_map(move |line| {
        let mut words = line.split_whitespace();
        match (kind, words.next()?) {
            (ProxyKind::Nginx, "upstream") => is_group = true,
            (ProxyKind::Nginx, "}") => is_group = false,
            (ProxyKind::Nginx, "server") if is_group => return Some(words.next()?.trim_end_matches(';')),
            (ProxyKind::Haproxy, "server") => return words.nth(1),
            _ => {}
        }
        None
    })
}
