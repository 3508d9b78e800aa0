//! Nodes as people write them down, and as the rest of the program may use them.
//!
//! An [`Item`] is what the table holds: anything at all. A [`Node`] is an item that passed every check; only
//! nodes go further. A bad item is a [`Rejected`], reported and never a stop.

mod item;
mod secret;
mod url;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use item::{Item, Listed, Rejected, is_link_local, list, read_items};
pub use secret::{BadSecret, SecretName, SecretRule, SecretRules, resolve};
pub use url::{BadUrl, Host, NodeUrl, Scheme, parse_host};

use crate::name::{NetworkId, NodeName};

/// What a node is to its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// One of the operator's own nodes; traffic goes to these.
    #[default]
    Node,
    /// The node others are compared with, and the fallback.
    Leader,
}

/// An operator's word that a node gets no traffic, whatever its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cordon {
    /// Who said so.
    pub by: String,
    /// Why, in their words; may be empty.
    #[serde(default)]
    pub why: String,
    /// When it was said.
    pub at: Timestamp,
    /// When it ends by itself; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A node that passed every check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The network it serves.
    pub network: NetworkId,
    /// Its short name.
    pub name: NodeName,
    /// Own node or leader.
    pub role: Role,
    /// Share of the traffic relative to the others, 1 to 100.
    pub weight: u16,
    /// Where it is, and what to send there.
    pub address: Address,
    /// Set while the operator keeps traffic away from it.
    pub cordon: Option<Cordon>,
}

/// Where a node is. Health belongs to a node **at an address**: when any of this changes, the node is new.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// JSON-RPC over HTTP(S).
    pub url: NodeUrl,
    /// JSON-RPC over WebSocket, if it has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ws_url: Option<NodeUrl>,
    /// A Host header of its own instead of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

impl Address {
    /// The Host header that this node gets: its own; otherwise the URL's where TLS or a path show that a named
    /// service is there; otherwise `localhost`, the only name that geth and Besu accept by default.
    pub fn host_header(&self, url: &NodeUrl) -> String {
        match &self.host {
            Some(host) => host.to_string(),
            None if url.is_plain() => "localhost".to_owned(),
            None => url.authority(),
        }
    }
}

impl Node {
    /// Whether an operator keeps traffic away from it at `now`.
    pub fn is_cordoned(&self, now: Timestamp) -> bool {
        self.cordon.as_ref().is_some_and(|cordon| cordon.until.is_none_or(|until| now < until))
    }
}
