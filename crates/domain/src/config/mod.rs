//! The one file a person edits, read in two steps: `written` as it stands there, then [`Config`], checked as a
//! whole. Both steps report every fault at once, with its line and key.

mod aws;
mod checked;
mod gate;
mod redis;
mod written;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::fleet::node::{Node, SecretRules};
use crate::name::{NetworkId, NodeName};

pub use aws::Aws;
pub use gate::{Gate, GateAddress, LimitStore, Shield, WhenAway};
pub use redis::{BadRedisUrl, RedisUrl};
pub use written::schema;

/// A configuration in which everything fits together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of the embedded state, relative to the configuration file.
    pub state: String,
    /// The network that addresses without a network name mean.
    pub default_network: NetworkId,
    /// Every network, at least one.
    pub networks: BTreeMap<NetworkId, Network>,
    /// How nodes are probed.
    pub health: Health,
    /// What secrets there are and where they may go.
    pub secrets: SecretRules,
    /// The proxy in front of the nodes.
    pub proxy: Proxy,
    /// How a new revision reaches running proxies.
    pub rollout: Rollout,
    /// Who may pass, and how much.
    pub gate: Gate,
    /// Where it runs on AWS, if it does.
    pub aws: Option<Aws>,
}

impl Config {
    /// Every network's leader by name.
    pub fn leaders(&self) -> BTreeMap<NetworkId, NodeName> {
        self.networks.iter().map(|(id, network)| (id.clone(), network.leader.name.clone())).collect()
    }

    /// Reads a configuration file's text.
    pub fn read(text: &str) -> Result<Self, BadConfig> {
        let document = yaml::Document::parse(text).map_err(|fault| BadConfig(vec![fault.printable()]))?;
        let place = |faults: crate::read::Faults| BadConfig::place(faults, &document);
        let written = crate::read::read(document.value.clone()).map_err(place)?;
        checked::check(written).map_err(place)
    }
}

/// One chain and the rules for judging its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What `eth_chainId` must answer.
    pub chain_id: u64,
    /// The node others are compared with, as the first run writes it into the table.
    pub leader: Node,
    /// Time between two blocks; `max_lag` became `max_lag_blocks` by it.
    pub block_time: Duration,
    /// How many blocks behind the reference a healthy node may be, inclusive.
    pub max_lag_blocks: u64,
    /// Failures in a row that make a node unhealthy.
    pub fall: NonZeroU32,
    /// Successes in a row that make it healthy again.
    pub rise: NonZeroU32,
}

/// How nodes are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Time between two ticks.
    pub interval: Duration,
    /// Time one probe may take in all.
    pub timeout: Duration,
    /// How much later a network whose own nodes all failed is asked again before that is believed.
    pub confirm_after: Duration,
    /// Whether nodes may be at link-local addresses.
    pub allow_link_local: bool,
}

/// Which program is the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// nginx 1.27.4 or later.
    Nginx,
    /// HAProxy 3.0 or later.
    Haproxy,
}

impl ProxyKind {
    /// Every kind there is.
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Haproxy];

    /// The program's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The name of its configuration file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
        }
    }
}

impl fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Settings of the proxy that are part of every revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// nginx or HAProxy.
    pub kind: ProxyKind,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Times that bound a request and a stop.
    pub timeouts: Timeouts,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Whether `X-RPC-Endpoint` and `X-RPC-Latency-Ms` are shown to clients.
    pub endpoint_headers: bool,
    /// Whether each request is logged.
    pub access_log: bool,
}

/// Times of the proxy. Three tries, two on own nodes and one on the leader, fit into `total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For connecting to a node.
    pub connect: Duration,
    /// For one try on one node, connecting not counted.
    pub attempt: Duration,
    /// For a whole request.
    pub total: Duration,
    /// How long an idle client connection outlives a reload, so that a client about to use it is not cut off.
    pub keepalive_min: Duration,
    /// How long requests in flight may go on after a reload or stop.
    pub shutdown: Duration,
    /// How long `/readyz` says 503 before a stop begins.
    pub drain: Duration,
    /// How long a WebSocket may be silent.
    pub websocket_idle: Duration,
}

/// Bounds of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub max_body: u64,
    /// Connections, of clients and to nodes together, per worker.
    pub connections: u32,
}

/// How a new revision reaches running proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Whether a deployment follows each revision.
    pub mode: RolloutMode,
    /// Least time between two deployments.
    pub min_interval: Duration,
}

/// Whether a deployment follows each revision. On one machine the proxy reloads in place in both modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutMode {
    /// Reload in place, then a new deployment makes it certain.
    Redeploy,
    /// Reload in place only.
    Reload,
}

/// One fault with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Line in the file, from 1.
    pub line: usize,
    /// The key, as `networks.ethereum.leader`; empty for the whole document.
    pub key: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl Placed {
    fn printable(self) -> Self {
        let [key, problem] = [self.key, self.problem].map(crate::name::printable);
        Self { key, problem, ..self }
    }
}

/// Everything that is wrong with a configuration, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadConfig(pub Vec<Placed>);

impl BadConfig {
    fn place(faults: crate::read::Faults, document: &yaml::Document) -> Self {
        let mut placed: Vec<_> = faults
            .0
            .into_iter()
            .map(|fault| {
                Placed { line: document.line(&fault.path), key: fault.place(), problem: fault.problem }.printable()
            })
            .collect();
        placed.sort_by(|a, b| (a.line, &a.key, &a.problem).cmp(&(b.line, &b.key, &b.problem)));
        placed.dedup();
        Self(placed)
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let colon = if fault.key.is_empty() { "" } else { ": " };
            write!(f, "{newline}line {}: {}{colon}{}", fault.line, fault.key, fault.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for BadConfig {}
