//! Short ways to say who serves what.

use std::net::SocketAddr;

use nodeweir_domain::fleet::node::Address;
use nodeweir_domain::fleet::roster::{Member, Roster, Rosters, Source};

/// The network of most tests, and the default one of all.
pub(crate) const MAIN: &str = "main";

/// A node by its URL.
pub(crate) fn member(name: &str, url: &str) -> Member {
    let address = Address { url: url.parse().expect(url), ws_url: None, host: None };
    Member { name: name.parse().expect(name), weight: 1, address }
}

/// A plain node.
pub(crate) fn plain(name: &str, at: SocketAddr) -> Member {
    member(name, &format!("http://{at}"))
}

/// The same node, reached through an internal server of its own.
pub(crate) fn through_hop(name: &str, at: SocketAddr) -> Member {
    member(name, &format!("http://{at}/path"))
}

/// The member with a Host header of its own.
pub(crate) fn with_host(mut member: Member, host: &str) -> Member {
    member.address.host = Some(host.to_owned().try_into().expect(host));
    member
}

/// The member with a WebSocket address.
pub(crate) fn with_ws(mut member: Member, url: &str) -> Member {
    member.address.ws_url = Some(url.parse().expect(url));
    member
}

/// Own nodes and a leader behind them.
pub(crate) fn roster(members: Vec<Member>, fallback: Option<Member>) -> Roster {
    let source = if members.is_empty() { Source::Nobody } else { Source::Nodes };
    Roster { source, members, fallback }
}

/// [`MAIN`] alone.
pub(crate) fn main_of(members: Vec<Member>, fallback: Option<Member>) -> Rosters {
    Rosters::from([(MAIN.parse().expect(MAIN), roster(members, fallback))])
}
