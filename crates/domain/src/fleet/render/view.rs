//! What the templates print, decided and made safe.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{Config, Gate, GateAddress, WhenAway};
use crate::fleet::node::{Host, NodeUrl};
use crate::fleet::roster::{Member, Rosters};
use crate::name::NetworkId;

/// All that stands in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Address and port for clients.
    pub listen: String,
    /// The network that `/v3` means.
    pub default_network: NetworkId,
    /// Every network, by name.
    pub networks: Vec<NetworkView>,
    /// An internal server for each address that cannot stand in a group beside plain ones.
    pub hops: Vec<Hop>,
    /// Whether who answered, and how fast, is shown to clients.
    pub endpoint_headers: bool,
    /// Whether each request is logged.
    pub access_log: bool,
    /// Bytes of a request's body.
    pub max_body: u64,
    /// Connections per worker.
    pub connections: u32,
    /// Times in milliseconds.
    pub connect_ms: u128,
    /// For one try.
    pub attempt_ms: u128,
    /// For the tries on own nodes together, so that the fallback's try still fits into the total.
    pub own_tries_ms: u128,
    /// For a whole request.
    pub total_ms: u128,
    /// How long an idle client connection outlives a reload.
    pub keepalive_min_ms: u128,
    /// How long requests in flight outlive a reload or stop.
    pub shutdown_ms: u128,
    /// How long a WebSocket may be silent.
    pub websocket_idle_ms: u128,
    /// Who is asked before a request goes on; nobody if the gate is switched off.
    pub gate: Option<GateView>,
}

/// The gate, as a proxy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    /// Where it is found.
    pub at: GateAddress,
    /// Whether requests pass while nobody is there to be asked.
    pub is_open_when_away: bool,
    /// Ranges of addresses whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Of one client address.
    pub requests_per_second: u32,
    /// Requests that may come at once beyond that.
    pub burst: u64,
    /// Of one client address at a time.
    pub connections: u32,
    /// For connecting to it.
    pub connect_ms: u32,
    /// For its answer. A decision takes microseconds; what is not decided by then was lost.
    pub answer_ms: u32,
}

/// One network's groups of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// Its name in addresses.
    pub id: NetworkId,
    /// Who gets the traffic; empty if nobody can.
    pub servers: Vec<Server>,
    /// Who gets a request that they failed.
    pub fallback: Option<Server>,
    /// The same for WebSocket traffic: those of the above that have a `ws_url`; the fallback alone if only it has one.
    pub ws_servers: Vec<Server>,
    /// Who gets a WebSocket that they failed.
    pub ws_fallback: Option<Server>,
}

/// The servers that one network has for one kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// `rpc` or `ws`.
    pub kind: &'static str,
    /// Whose they are.
    pub network: &'a NetworkId,
    /// At least one.
    pub servers: &'a [Server],
    /// Who gets what they failed.
    pub fallback: Option<&'a Server>,
}

/// One server of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The node's short name, as clients see it.
    pub name: String,
    /// 1 to 100.
    pub weight: u16,
    /// Where a group finds it.
    pub at: At,
}

/// Where a group finds a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// At this `IP:port`.
    Address(String),
    /// Behind a [`Hop`].
    Hop {
        /// Its id.
        id: String,
        /// Its socket.
        socket: String,
    },
}

/// An internal server on a unix socket that speaks to one address: with TLS, a path, a Host of its own or a name
/// that must be resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Unique: network, node and, for a WebSocket address, `ws`, joined by dots.
    pub id: String,
    /// The node's short name.
    pub node: String,
    /// Path of the socket, relative to the proxy's folder.
    pub socket: String,
    /// Whether it speaks TLS, verified.
    pub tls: bool,
    /// Whether it carries WebSocket traffic.
    pub websocket: bool,
    /// Host and port to connect to.
    pub server: String,
    /// Whether that is an IP address, so that nothing has to be resolved.
    pub is_ip: bool,
    /// The name that its certificate must bear.
    pub tls_name: String,
    /// The Host header it gets.
    pub host_header: String,
    /// The path requests go to, with `${NAME}` where a secret belongs.
    pub path: String,
}

impl View {
    /// Lays out `rosters` under the settings of `config`.
    pub fn new(rosters: &Rosters, config: &Config) -> Self {
        let mut hops = BTreeSet::new();
        let networks = rosters
            .iter()
            .map(|(id, roster)| {
                let mut rpc = |member: &Member| server(id, member, &member.address.url, &mut hops);
                let servers = roster.members.iter().map(&mut rpc).collect();
                let fallback = roster.fallback.as_ref().map(&mut rpc);
                let mut ws = |member: &Member| Some(server(id, member, member.address.ws_url.as_ref()?, &mut hops));
                let mut ws_servers: Vec<_> = roster.members.iter().filter_map(&mut ws).collect();
                let mut ws_fallback = roster.fallback.as_ref().and_then(&mut ws);
                if ws_servers.is_empty() {
                    ws_servers.extend(ws_fallback.take());
                }
                NetworkView { id: id.clone(), servers, fallback, ws_servers, ws_fallback }
            })
            .collect();
        let times = &config.proxy.timeouts;
        let ms = |time: Duration| time.as_millis();
        Self {
            listen: config.proxy.listen.to_string(),
            default_network: config.default_network.clone(),
            networks,
            hops: hops.into_iter().collect(),
            endpoint_headers: config.proxy.endpoint_headers,
            access_log: config.proxy.access_log,
            max_body: config.proxy.limits.max_body,
            connections: config.proxy.limits.connections,
            connect_ms: ms(times.connect),
            attempt_ms: ms(times.attempt),
            own_tries_ms: ms(times.total.saturating_sub(times.connect + times.attempt)),
            total_ms: ms(times.total),
            keepalive_min_ms: ms(times.keepalive_min),
            shutdown_ms: ms(times.shutdown),
            websocket_idle_ms: ms(times.websocket_idle),
            gate: config.gate.enabled.then(|| GateView::new(&config.gate)),
        }
    }

    /// Every group of servers, with its kind (`rpc` or `ws`), its network and its fallback; none is empty.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let both = self.networks.iter().flat_map(|network| {
            let id = &network.id;
            [
                Group { kind: "rpc", network: id, servers: &network.servers, fallback: network.fallback.as_ref() },
                Group { kind: "ws", network: id, servers: &network.ws_servers, fallback: network.ws_fallback.as_ref() },
            ]
        });
        both.filter(|group| !group.servers.is_empty())
    }
}

impl GateView {
    fn new(gate: &Gate) -> Self {
        let requests_per_second = gate.shield.requests_per_second.get();
        Self {
            at: gate.listen,
            is_open_when_away: gate.when_away == WhenAway::Open,
            trusted_proxies: gate.trusted_proxies.iter().map(ToString::to_string).collect(),
            requests_per_second,
            burst: 2 * u64::from(requests_per_second),
            connections: gate.shield.connections.get(),
            connect_ms: 200,
            answer_ms: 2000,
        }
    }
}

/// A member as a server of a group. Only a plain address (no TLS, no path, no Host of its own, nothing to resolve)
/// stands there itself; any other gets a hop, because a group has one Host header and one path for all, and because
/// the address that a name resolves to does not tell which node answered.
fn server(network: &NetworkId, member: &Member, url: &NodeUrl, hops: &mut BTreeSet<Hop>) -> Server {
    let name = member.name.to_string();
    let weight = member.weight;
    if url.is_plain() && url.host().is_ip() && member.address.host.is_none() {
        return Server { name, weight, at: At::Address(url.socket()) };
    }
    let websocket = url.scheme().is_websocket();
    let id = format!("{network}.{name}{}", if websocket { ".ws" } else { "" });
    let socket = format!("sock/{id}.sock");
    let own_name = member.address.host.as_ref().unwrap_or(url.host());
    hops.insert(Hop {
        id: id.clone(),
        node: name.clone(),
        socket: socket.clone(),
        tls: url.scheme().is_tls(),
        websocket,
        server: url.socket(),
        is_ip: url.host().is_ip(),
        tls_name: match own_name {
            Host::V6(ip) => ip.to_string(),
            other => other.to_string(),
        },
        host_header: member.address.host_header(url),
        path: url.path().to_owned(),
    });
    Server { name, weight, at: At::Hop { id, socket } }
}
