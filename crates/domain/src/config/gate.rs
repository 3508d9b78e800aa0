//! Settings of the gate.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::redis::RedisUrl;
use crate::gate::price::Prices;
use crate::gate::project::{Allowance, Project, Tier};
use crate::name::TierName;

/// The gate: who may pass, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Whether requests are asked for a key at all.
    pub enabled: bool,
    /// What becomes of requests while the sidecar cannot be reached.
    pub when_away: WhenAway,
    /// Where nginx finds the sidecar.
    pub listen: GateAddress,
    /// Where the sidecar answers `/livez`, `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// Load balancers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who counts how fast a key asks.
    pub limits: LimitStore,
    /// Bounds on each client address, before anything of a request is read.
    pub shield: Shield,
    /// Members that a batch may have, 1 to 1,000.
    pub batch: u32,
    /// What each project may spend beyond its leases while the ledger is away, in hundredths of its monthly credits.
    pub overdraft_percent: u8,
    /// What methods cost.
    pub prices: Prices,
    /// What projects may, by their tier.
    pub tiers: BTreeMap<TierName, Tier>,
}

impl Gate {
    /// What a project may. `None` if its tier does not exist any more, or neither states a number.
    pub fn allowance(&self, project: &Project) -> Option<Allowance> {
        project.allowance(self.tiers.get(&project.tier)?)
    }
}

/// What becomes of requests while the sidecar cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// They are answered 503.
    Closed,
    /// They pass, neither limited nor charged, if the connection to the sidecar failed; never if it answered.
    Open,
}

/// Where nginx finds the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateAddress {
    /// At the unix socket `sock/gate.sock` in the proxy's folder.
    Socket,
    /// At this address, by TCP.
    Tcp(SocketAddr),
}

/// Who counts how fast a key asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitStore {
    /// Each gate by itself.
    Local,
    /// One Redis or Valkey for all gates.
    Redis(RedisUrl),
}

impl fmt::Display for LimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

/// Bounds on each client address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shield {
    /// Requests per second; the burst is twice as much.
    pub requests_per_second: NonZeroU32,
    /// Connections at a time, 1 to 65,535: nginx cannot count further.
    pub connections: NonZeroU32,
}
