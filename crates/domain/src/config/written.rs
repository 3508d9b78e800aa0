//! The configuration as it stands in the file: every key, its type, its default. Nothing here knows of another key;
//! what must fit together is checked in [`super::checked`].

use std::collections::BTreeMap;
use std::time::Duration;

use deserr::Deserr;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use serde::{Serialize, Serializer};

use crate::read::{Faults, Keyed};
use crate::text::{parse_duration, parse_size, show_duration, show_size};
use aws::AwsWritten;
use gate::GateWritten;

/// A duration with its unit.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Faults, try_from(&String) = read_duration -> String)]
pub(super) struct Time(pub(super) Duration);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_duration(self.0))
    }
}

#[expect(clippy::ptr_arg, reason = "deserr hands over a String")]
fn read_duration(text: &String) -> Result<Time, String> {
    parse_duration(text).map(Time)
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "A number with a unit, such as 500ms, 2s, 10m or 1h.", "pattern": "^[0-9].*[a-z]$"})
    }
}

/// A size with its unit.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Faults, try_from(&String) = read_size -> String)]
pub(super) struct Size(pub(super) u64);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_size(self.0))
    }
}

#[expect(clippy::ptr_arg, reason = "deserr hands over a String")]
fn read_size(text: &String) -> Result<Size, String> {
    parse_size(text).map(Size)
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "A whole number with B, KiB, MiB or GiB.", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)$"})
    }
}

/// Nodeweir's configuration.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields, title = "Nodeweir configuration")]
pub(super) struct Written {
    /// Folder for the embedded state (SQLite, revisions, the proxy's files), relative to this file.
    #[deserr(default = default_state())]
    #[schemars(default = "default_state")]
    pub(super) state: String,
    /// The network that addresses without a network name mean. May be left out where there is only one.
    #[deserr(default)]
    pub(super) default_network: Option<String>,
    /// The chains behind the proxy, by their name in addresses.
    #[schemars(with = "BTreeMap<String, NetworkWritten>")]
    pub(super) networks: Keyed<NetworkWritten>,
    /// How nodes are probed.
    #[deserr(default)]
    #[schemars(default)]
    pub(super) health: HealthWritten,
    /// Values that URLs name as `${NAME}`; each is read from the environment variable of its name.
    #[deserr(default)]
    #[schemars(with = "BTreeMap<String, SecretWritten>", default)]
    pub(super) secrets: Keyed<SecretWritten>,
    /// The data plane.
    #[deserr(default)]
    #[schemars(default)]
    pub(super) proxy: ProxyWritten,
    /// How a new revision reaches running proxies.
    #[deserr(default)]
    #[schemars(default)]
    pub(super) rollout: RolloutWritten,
    /// Who may pass, and how much.
    #[deserr(default)]
    #[schemars(default)]
    pub(super) gate: GateWritten,
    /// Where it runs on AWS; left out on one machine.
    #[deserr(default)]
    pub(super) aws: Option<AwsWritten>,
}

/// One chain.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(super) struct NetworkWritten {
    /// What `eth_chainId` must answer: 1 for Ethereum, 137 for Polygon, 10 for Optimism.
    pub(super) chain_id: u64,
    /// The node that others are compared with, and the fallback.
    pub(super) leader: LeaderWritten,
    /// Time between two blocks.
    pub(super) block_time: Time,
    /// Blocks behind the reference that a healthy node may be, inclusive. 10 if neither this nor `max_lag` is set.
    #[deserr(default)]
    pub(super) max_lag_blocks: Option<u64>,
    /// The same as time, turned into blocks by `block_time`; fits fast chains better. Instead of `max_lag_blocks`.
    #[deserr(default)]
    pub(super) max_lag: Option<Time>,
    /// Failures in a row that make a node unhealthy.
    #[deserr(default = default_fall())]
    #[schemars(default = "default_fall")]
    pub(super) fall: u32,
    /// Successes in a row that make it healthy again.
    #[deserr(default = default_rise())]
    #[schemars(default = "default_rise")]
    pub(super) rise: u32,
}

/// A network's leader.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(super) struct LeaderWritten {
    /// Its short name.
    #[deserr(default = default_leader())]
    #[schemars(default = "default_leader")]
    pub(super) name: String,
    /// Its JSON-RPC address, with `${NAME}` where a secret belongs.
    pub(super) url: String,
    /// Its WebSocket address.
    #[deserr(default)]
    pub(super) ws_url: Option<String>,
    /// A Host header of its own.
    #[deserr(default)]
    pub(super) host: Option<String>,
}

fn default_state() -> String {
    "nodeweir-state".to_owned()
}

fn default_leader() -> String {
    "infura".to_owned()
}

const fn default_fall() -> u32 {
    1
}

const fn default_rise() -> u32 {
    2
}

macro_rules! written {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserr, JsonSchema)]
        #[deserr(error = Faults, deny_unknown_fields)]
        #[schemars(deny_unknown_fields, default)]
        pub(in crate::config) struct $name {
            $($(#[$key_doc])* #[deserr(default = $default)] pub(in crate::config) $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

pub(super) mod aws;
pub(super) mod gate;

const fn seconds(count: u64) -> Time {
    Time(Duration::from_secs(count))
}

written! {
    /// How nodes are probed.
    HealthWritten {
        /// Time between two ticks.
        interval: Time = seconds(60),
        /// Time one probe may take in all, second try and chain id included.
        timeout: Time = seconds(2),
        /// When all own nodes of a network fail at once, they are asked again this much later before it is believed.
        confirm_after: Time = seconds(10),
        /// Whether nodes may be at link-local addresses, where clouds keep credentials.
        allow_link_local: bool = false,
    }
}

/// Where one secret may go.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(super) struct SecretWritten {
    /// Hosts it may be sent to: exact names, or `*.` and a suffix.
    pub(super) hosts: Vec<String>,
}

written! {
    /// The data plane.
    ProxyWritten {
        /// `nginx` (1.27.4 or later) or `haproxy` (3.0 or later).
        kind: String = "nginx".to_owned(),
        /// Address and port where clients connect.
        listen: String = "127.0.0.1:8080".to_owned(),
        /// Whether `X-RPC-Endpoint` and `X-RPC-Latency-Ms` tell clients who answered, and how fast.
        endpoint_headers: bool = true,
        /// Whether each request is logged (as JSON, without keys).
        access_log: bool = true,
        /// Times that bound a request and a stop.
        timeouts: TimeoutsWritten = TimeoutsWritten::default(),
        /// Bounds on what clients may send.
        limits: LimitsWritten = LimitsWritten::default(),
    }
}

written! {
    /// Times that bound a request and a stop.
    TimeoutsWritten {
        /// For connecting to a node.
        connect: Time = seconds(1),
        /// For one try on one node. Three tries (two on own nodes, one on the leader) must fit into `total`.
        attempt: Time = seconds(9),
        /// For a whole request.
        total: Time = seconds(30),
        /// How long an idle client connection outlives a reload.
        keepalive_min: Time = seconds(10),
        /// How long requests in flight may go on after a reload or stop.
        shutdown: Time = seconds(60),
        /// How long `/readyz` says 503 before a stop begins; give a load balancer time to notice.
        drain: Time = seconds(0),
        /// How long a WebSocket may be silent.
        websocket_idle: Time = seconds(300),
    }
}

written! {
    /// Bounds on what clients may send.
    LimitsWritten {
        /// A request's body.
        max_body: Size = Size(1 << 20),
        /// Connections, of clients and to nodes together, per worker.
        connections: u32 = 4096,
    }
}

written! {
    /// How a new revision reaches running proxies. On one machine the proxy reloads in place in both modes.
    RolloutWritten {
        /// `redeploy`: reload in place, then a new deployment makes it certain. `reload`: reload in place only.
        mode: String = "redeploy".to_owned(),
        /// Least time between two deployments.
        min_interval: Time = seconds(600),
    }
}

/// The JSON Schema of the configuration file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Written).to_value()
}
