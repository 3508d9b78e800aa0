//! What the template of nginx needs beside the view.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use askama::Template;

use super::REVISION;
use super::answers::{ANSWERS, Answer, EXPOSED, FAILED, HIDDEN, OF_THE_GATE, VERDICT, gate_answers};
use super::view::{At, GateView, Group, Hop, View};
use crate::config::GateAddress;
use crate::name::NetworkId;

/// Where the gate listens unless it has an address of its own.
pub(in crate::fleet) const GATE_SOCKET: &str = "unix:sock/gate.sock";

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct Nginx<'a> {
    view: &'a View,
    groups: Vec<Group<'a>>,
    /// Connections per worker, with one for each socket that it listens on, and an idle one to each server.
    worker_connections: usize,
    /// From `kind network address`, as a request's log knows who answered, to the node's name.
    names: BTreeMap<String, &'a str>,
    /// Networks that have servers for JSON-RPC.
    rpc_networks: Vec<&'a NetworkId>,
    /// Networks that have servers for WebSocket traffic.
    ws_networks: Vec<&'a NetworkId>,
    /// Groups, as `kind:network`, and the location of their fallback.
    fallbacks: Vec<(String, String)>,
    answers: Vec<Answer>,
    /// Where a request ends that no node answered.
    unavailable: &'static str,
    /// The same for one that no node answered in time.
    late: &'static str,
    /// Where the gate writes the answer, and why.
    refusals: [Refusal; 3],
    verdict: &'static [(&'static str, &'static str)],
    /// Statuses of nodes that are replaced by an answer of our own, so that no node may be named as its author.
    replaced: Vec<u16>,
    failed: &'static [u16],
    hidden: Vec<&'static str>,
    exposed: &'static str,
    revision: &'static str,
}

/// A location that has the gate write an answer: with the request's body, so that its ids are echoed.
struct Refusal {
    location: &'static str,
    /// What the gate is told.
    reason: &'static str,
    /// The answer of our own if it cannot be had.
    otherwise: &'static str,
    /// How a request that had been let pass counts then, whatever the answer's status is: nobody is told anything who
    /// sent only notifications.
    counts_as: Option<u16>,
}

const REFUSALS: [Refusal; 3] = [
    Refusal { location: "@refused", reason: "$gate_refusal", otherwise: "gate-unavailable", counts_as: None },
    Refusal {
        location: "@unavailable",
        reason: "upstream-unavailable",
        otherwise: "unavailable",
        counts_as: Some(503),
    },
    Refusal { location: "@late", reason: "upstream-timeout", otherwise: "late", counts_as: Some(504) },
];

impl GateView {
    /// As it stands after `server`.
    fn nginx(&self) -> String {
        match self.at {
            GateAddress::Socket => GATE_SOCKET.to_owned(),
            GateAddress::Tcp(address) => address.to_string(),
        }
    }

    /// As Lua's sockets take it.
    fn lua(&self) -> String {
        match self.at {
            GateAddress::Socket => format!("\"{GATE_SOCKET}\""),
            GateAddress::Tcp(SocketAddr::V4(address)) => format!("\"{}\", {}", address.ip(), address.port()),
            GateAddress::Tcp(SocketAddr::V6(address)) => format!("\"[{}]\", {}", address.ip(), address.port()),
        }
    }
}

impl At {
    /// As it stands after `server`, and in `$upstream_addr`.
    fn nginx(&self) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Hop { socket, .. } => format!("unix:{socket}"),
        }
    }
}

impl Hop {
    /// As `proxy_pass` has it; a WebSocket is HTTP to nginx.
    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl Group<'_> {
    /// KiB of shared memory for its servers. Only what is used is ever taken, so this may be generous.
    fn zone(&self) -> usize {
        64 + 4 * self.servers.len()
    }

    /// Idle connections that a worker keeps to its servers. Requests go around, so that one to each would be closed and
    /// opened anew all the time if these were fewer than servers; the rest is for a crowd of clients.
    fn kept(&self) -> usize {
        256 + self.servers.len()
    }
}

/// The configuration file of nginx.
pub(super) fn render(view: &View) -> String {
    let groups: Vec<_> = view.groups().collect();
    let of_kind = |kind| groups.iter().filter(move |group| group.kind == kind).map(|group| group.network).collect();
    let mut names = BTreeMap::new();
    for group in &groups {
        for server in group.servers.iter().chain(group.fallback) {
            let key = format!("{} {} {}", group.kind, group.network, server.at.nginx());
            // Two nodes may share a WebSocket address; then the first one's name stands for both.
            names.entry(key).or_insert(server.name.as_str());
        }
    }
    let is_gated = view.gate.is_some();
    let of_gate = view.gate.as_ref().map(|gate| gate_answers(gate.requests_per_second));
    let connections = usize::try_from(view.connections).unwrap_or(usize::MAX);
    let servers: usize = groups.iter().map(|group| group.servers.len()).sum();
    let template = Nginx {
        view,
        worker_connections: connections.saturating_add(view.hops.len() + 2 + servers),
        names,
        rpc_networks: of_kind("rpc"),
        ws_networks: of_kind("ws"),
        fallbacks: groups
            .iter()
            .filter(|group| group.fallback.is_some())
            .map(|group| (format!("{}:{}", group.kind, group.network), format!("@{}-fallback", group.kind)))
            .collect(),
        groups,
        answers: ANSWERS.into_iter().chain(of_gate.into_iter().flatten()).collect(),
        unavailable: if is_gated { "@unavailable" } else { "/-/unavailable" },
        late: if is_gated { "@late" } else { "/-/late" },
        refusals: REFUSALS,
        verdict: &VERDICT,
        replaced: FAILED.into_iter().chain([413, 415, 504]).collect(),
        failed: &FAILED,
        hidden: HIDDEN.iter().chain(if is_gated { &OF_THE_GATE[..] } else { &[] }).copied().collect(),
        exposed: EXPOSED,
        revision: REVISION,
    };
    // Writing into a String cannot fail, so the text is taken as Display gives it. Templates lose their last newline.
    format!("{template}\n")
}
