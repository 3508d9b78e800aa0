//! The gate's keys.

use deserr::Deserr;
use schemars::JsonSchema;
use serde::Serialize;

use crate::read::{Faults, Keyed};

written! {
    /// Who may pass, and how much: keys, limits, credits.
    GateWritten {
        /// Whether requests are asked for a key at all. Without, everybody who reaches the address may call.
        enabled: bool = true,
        /// What becomes of requests while the gate's process cannot be reached: `closed` (503) or `open` (they pass).
        when_away: String = "closed".to_owned(),
        /// Where nginx finds the gate: `socket` (a unix socket in the proxy's folder) or an address and port.
        listen: String = "socket".to_owned(),
        /// Address and port of the gate's own `/livez`, `/readyz` and `/metrics`.
        admin: String = "127.0.0.1:8081".to_owned(),
        /// Addresses or ranges of load balancers whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Members that a batch may have.
        batch: u32 = 100,
        /// What each project may spend beyond what it holds while the ledger is away, in percent of its monthly credits.
        overdraft_percent: u8 = 2,
        /// Who counts how fast a key asks.
        limits: RateLimitsWritten = RateLimitsWritten::default(),
        /// Bounds on each client address.
        shield: ShieldWritten = ShieldWritten::default(),
        /// What methods cost.
        prices: PricesWritten = PricesWritten::default(),
        /// What projects may, by tier; one that is written here replaces the tier of its name.
        tiers: Keyed<TierWritten> = Keyed::default(),
    }
}

written! {
    /// Who counts how fast a key asks.
    RateLimitsWritten {
        /// `local`: each gate by itself. Or the address of a Redis or Valkey that all gates share, as
        /// `rediss://[[user]:${NAME}@]host[:port][/database]`, where NAME is a secret; `redis://` is without TLS.
        store: String = "local".to_owned(),
    }
}

written! {
    /// Bounds on each client address, before anything of a request is read.
    ShieldWritten {
        /// Requests per second; the burst is twice as much.
        requests_per_second: u32 = 5000,
        /// Connections at a time, 1 to 65535.
        connections: u32 = 1000,
    }
}

written! {
    /// What methods cost, in credits. Looked up by network and method, then method, then the table, then the default.
    PricesWritten {
        /// `nexus`, `infura` or `alchemy`.
        table: String = "nexus".to_owned(),
        /// Of methods that neither stand below nor in the table. The table's own if left out.
        default: Option<u64> = None,
        /// By method.
        methods: Keyed<u64> = Keyed::default(),
        /// By network and method.
        networks: Keyed<Keyed<u64>> = Keyed::default(),
    }
}

/// What projects of a tier may.
#[derive(Debug, Serialize, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct TierWritten {
    /// Requests per second of each key; the burst is twice as much. Left out: each project states its own.
    #[deserr(default)]
    pub(in crate::config) requests_per_second: Option<u32>,
    /// Credits granted on the first of each month, UTC. Left out: each project states its own.
    #[deserr(default)]
    pub(in crate::config) credits_per_month: Option<u64>,
    /// Costly methods it is given, such as `debug_*` and `trace_*`.
    #[deserr(default)]
    pub(in crate::config) methods: Vec<String>,
    /// `refused`, or `unmetered`: WebSockets may be opened, whose messages are neither limited nor charged.
    #[deserr(default = default_websocket())]
    #[schemars(default = "default_websocket")]
    pub(in crate::config) websocket: String,
}

fn default_websocket() -> String {
    "refused".to_owned()
}
