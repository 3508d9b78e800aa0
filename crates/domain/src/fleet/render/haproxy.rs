//! What the template of HAProxy needs beside the view.

use askama::Template;

use super::REVISION;
use super::answers::{ANSWERS, Answer, EXPOSED, FAILED, HIDDEN};
use super::view::{At, Group, View};
use crate::name::NetworkId;

/// Bytes of a buffer. Only a request that fits into one can be tried again after a node answered it badly; each
/// active connection takes up to two.
const BUFFER: usize = 65_536;

/// Bytes of buffers that each thread keeps for itself. Each request takes up to three: this is enough for a crowd of clients.
const HOT: usize = 256 * BUFFER;

/// Bytes of headers: with the next number it must fit into a buffer, beside what HAProxy keeps free for itself.
const MAX_HEADERS: usize = 24_576;

/// Bytes of a body without Content-Length. A longer one could not be seen whole, so that its size would be unknown.
const MAX_UNANNOUNCED: usize = 32_768;

/// Those of [`FAILED`], and 504, that HAProxy can try again.
const RETRIED: [u16; 8] = [401, 403, 404, 425, 429, 502, 503, 504];

/// Request headers that nodes see; Host and X-Request-Id are set anew.
const KEPT: &str = "accept|accept-encoding|content-type|content-length|transfer-encoding|host|connection|upgrade|\
                    sec-websocket-(?:key|version|protocol|extensions)";

#[derive(Template)]
#[template(path = "haproxy.cfg", escape = "none")]
struct Haproxy<'a> {
    view: &'a View,
    groups: Vec<Group<'a>>,
    /// Networks that have servers for JSON-RPC.
    rpc_networks: Vec<&'a NetworkId>,
    /// Networks that have servers for WebSocket traffic.
    ws_networks: Vec<&'a NetworkId>,
    answers: &'static [Answer],
    failed: &'static [u16],
    retried: &'static [u16],
    hidden: &'static [&'static str],
    kept: &'static str,
    exposed: &'static str,
    buffer: usize,
    hot: usize,
    max_headers: usize,
    max_unannounced: usize,
    revision: &'static str,
}

impl Haproxy<'_> {
    /// The words after `return` or `deny` that send the answer called `name`.
    fn answer(&self, name: &str) -> String {
        let answer = self.answers.iter().find(|answer| answer.name == name);
        answer.map_or_else(String::new, |answer| {
            format!("status {} content-type application/json string '{}'", answer.status, answer.body())
        })
    }
}

impl At {
    /// As it stands after the name of a server.
    fn haproxy(&self) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Hop { socket, .. } => format!("unix@{socket}"),
        }
    }

    /// Who says whether it is up: a connection to it, or that of its hop.
    fn watched(&self) -> String {
        match self {
            Self::Address(_) => "check".to_owned(),
            Self::Hop { id, .. } => format!("track hop-{id}/node"),
        }
    }
}

/// The configuration file of HAProxy.
pub(super) fn render(view: &View) -> String {
    let groups: Vec<_> = view.groups().collect();
    let of_kind = |kind| groups.iter().filter(move |group| group.kind == kind).map(|group| group.network).collect();
    let template = Haproxy {
        view,
        rpc_networks: of_kind("rpc"),
        ws_networks: of_kind("ws"),
        groups,
        answers: &ANSWERS,
        failed: &FAILED,
        retried: &RETRIED,
        hidden: &HIDDEN,
        kept: KEPT,
        exposed: EXPOSED,
        buffer: BUFFER,
        hot: HOT,
        max_headers: MAX_HEADERS,
        max_unannounced: MAX_UNANNOUNCED,
        revision: REVISION,
    };
    // Writing into a String cannot fail, so the text is taken as Display gives it. Templates lose their last newline.
    format!("{template}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_named_in_the_template_exists() {
        let template = include_str!("../../../../../templates/haproxy.cfg");
        let named: Vec<_> = template.split("answer(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(named.len() > 5);
        for name in named {
            assert!(ANSWERS.iter().any(|answer| answer.name == name), "{name}");
        }
    }

    #[test]
    fn only_failures_are_tried_again() {
        assert!(RETRIED.iter().all(|status| FAILED.contains(status) || *status == 504));
        const { assert!(MAX_HEADERS + MAX_UNANNOUNCED + 4096 < BUFFER) };
    }
}
