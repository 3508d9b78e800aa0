//! What the template of nginx needs beside the view.

use std::collections::BTreeMap;

use askama::Template;

use super::REVISION;
use super::answers::{ANSWERS, Answer, EXPOSED, FAILED, HIDDEN};
use super::view::{At, Group, Hop, View};
use crate::name::NetworkId;

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct Nginx<'a> {
    view: &'a View,
    groups: Vec<Group<'a>>,
    /// Connections per worker, with one for each socket that it listens on.
    worker_connections: usize,
    /// From `kind network address`, as a request's log knows who answered, to the node's name.
    names: BTreeMap<String, &'a str>,
    /// Networks that have servers for JSON-RPC.
    rpc_networks: Vec<&'a NetworkId>,
    /// Networks that have servers for WebSocket traffic.
    ws_networks: Vec<&'a NetworkId>,
    /// Groups, as `kind:network`, and the location of their fallback.
    fallbacks: Vec<(String, String)>,
    answers: &'static [Answer],
    /// Statuses of nodes that are replaced by an answer of our own, so that no node may be named as its author.
    replaced: Vec<u16>,
    failed: &'static [u16],
    hidden: &'static [&'static str],
    exposed: &'static str,
    revision: &'static str,
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
    let connections = usize::try_from(view.connections).unwrap_or(usize::MAX);
    let template = Nginx {
        view,
        worker_connections: connections.saturating_add(view.hops.len() + 2),
        names,
        rpc_networks: of_kind("rpc"),
        ws_networks: of_kind("ws"),
        fallbacks: groups
            .iter()
            .filter(|group| group.fallback.is_some())
            .map(|group| (format!("{}:{}", group.kind, group.network), format!("@{}-fallback", group.kind)))
            .collect(),
        groups,
        answers: &ANSWERS,
        replaced: FAILED.into_iter().chain([413, 415, 504]).collect(),
        failed: &FAILED,
        hidden: &HIDDEN,
        exposed: EXPOSED,
        revision: REVISION,
    };
    // Writing into a String cannot fail, so the text is taken as Display gives it. Templates lose their last newline.
    format!("{template}\n")
}
