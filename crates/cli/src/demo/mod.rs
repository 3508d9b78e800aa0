//! Simulated nodes for `up --demo`, and the commands that break and heal them.
//!
//! They speak just enough JSON-RPC to be watched and called, count blocks by the clock, and say in
//! `web3_clientVersion` that they are simulated. They run inside the `up --demo` process and are told what to do
//! over a loopback address that stands in the demo's folder.

mod command;
mod node;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::post;
use nodeweir_store::{Event, FleetStore as _};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::context::Context;
use crate::up::local_url;
pub(crate) use command::command;
use node::SimulatedNode;

/// The simulated network's leader and nodes.
const LEADER: &str = "leader";
const NODES: [&str; 3] = ["alpha", "beta", "gamma"];
/// Where the running demo takes orders, in its folder.
const CONTROL: &str = "control-address";

/// All simulated nodes of a demo.
pub(crate) struct Fleet {
    nodes: BTreeMap<&'static str, Arc<SimulatedNode>>,
    control: TcpListener,
}

impl Fleet {
    /// Starts them on free ports of the loopback address.
    pub(crate) async fn start() -> Result<Self> {
        let mut nodes = BTreeMap::new();
        for name in NODES.into_iter().chain([LEADER]) {
            nodes.insert(name, Arc::new(SimulatedNode::start(name).await?));
        }
        Ok(Self { nodes, control: TcpListener::bind("127.0.0.1:0").await? })
    }

    /// Writes the demo's configuration and node list into `folder`.
    pub(crate) async fn prepare(&self, folder: &Path) -> Result<Context> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join("config.yml");
        let earlier = Context::load(Some(&file)).ok();
        // An earlier demo that still runs keeps its files; `up` refuses to start beside it.
        if let Some(context) = earlier.as_ref().filter(|context| context.is_up()) {
            return Ok(context.clone());
        }
        // One that was killed left its proxy behind, which is about to be taken over, port and all.
        let port = match earlier.filter(|context| context.state.join("proxy/proxy.pid").exists()) {
            Some(context) => context.config.proxy.listen.port(),
            None => free_port(8080).await?,
        };
        let config = format!(
            "# Made anew by each `nodeweir up --demo`: a fast network of simulated nodes.\n\
             state: state\n\
             networks:\n  ethereum:\n    chain_id: 1337\n    block_time: {}s\n    leader:\n      name: {LEADER}\n      url: {}\n\
             health:\n  interval: 2s\n  timeout: 1s\n  confirm_after: 1s\n\
             proxy:\n  listen: 127.0.0.1:{}\n  timeouts:\n    shutdown: 5s\n",
            node::BLOCK_SECONDS,
            self.url(LEADER)?,
            port,
        );
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let control = self.control.local_addr()?.to_string();
        fs::write(folder.join(CONTROL), control).with_context(|| format!("cannot write into {}", folder.display()))?;
        let context = Context::load(Some(&file))?;
        self.list(&context).await?;
        Ok(context)
    }

    /// Puts the nodes into the list, at today's ports.
    async fn list(&self, context: &Context) -> Result<()> {
        let store = context.store()?;
        let network = context.config.default_network.to_string();
        let before = store.items().await?;
        for name in self.nodes.keys() {
            let mut attributes = Map::from_iter([("url".to_owned(), Value::from(self.url(name)?))]);
            if *name == LEADER {
                attributes.insert("role".to_owned(), Value::from(LEADER));
            }
            let item =
                nodeweir_domain::fleet::node::Item { network: network.clone(), node: (*name).to_owned(), attributes };
            let seen = before.iter().find(|old| old.network == item.network && old.node == item.node);
            // Nobody else edits a demo that does not run.
            let _ = store.put_item(seen, &item).await?;
        }
        let now = jiff::Timestamp::now();
        let what = "the demo's nodes were listed at today's ports".to_owned();
        let event = Event {
            at: now,
            who: "demo".to_owned(),
            kind: "edit".to_owned(),
            network: Some(network),
            node: None,
            what,
        };
        Ok(store.record_events(&[event]).await?)
    }

    fn url(&self, name: &str) -> Result<String> {
        let node = self.nodes.get(name).with_context(|| format!("there is no simulated node {name}"))?;
        Ok(local_url(node.port)?.to_string())
    }

    /// Takes orders: `POST /stop/alpha`, `/start/alpha`, `/lag/alpha/20`.
    pub(crate) async fn serve(self) {
        let nodes = Arc::new(self.nodes);
        let routes = axum::Router::new()
            .route("/{verb}/{node}", post(order))
            .route("/{verb}/{node}/{blocks}", post(order_blocks))
            .with_state(nodes);
        if let Err(error) = axum::serve(self.control, routes).await {
            tracing::error!(%error, "the demo takes no more orders");
        }
    }
}

type Nodes = Arc<BTreeMap<&'static str, Arc<SimulatedNode>>>;

async fn order(state: State<Nodes>, UrlPath((verb, node)): UrlPath<(String, String)>) -> (StatusCode, String) {
    order_blocks(state, UrlPath((verb, node, 0))).await
}

async fn order_blocks(
    State(nodes): State<Nodes>,
    UrlPath((verb, name, blocks)): UrlPath<(String, String, u64)>,
) -> (StatusCode, String) {
    let Some(node) = nodes.get(name.as_str()) else {
        let known: Vec<_> = nodes.keys().copied().collect();
        return (StatusCode::NOT_FOUND, format!("there is no simulated node {name:?}; there are {}", known.join(", ")));
    };
    let done = match verb.as_str() {
        "stop" => {
            node.stop();
            format!("{name} refuses connections")
        }
        "start" => match node.heal().await {
            Ok(()) => format!("{name} is right again"),
            Err(error) => return (StatusCode::CONFLICT, format!("{name} cannot listen again: {error}")),
        },
        "lag" => {
            node.lag(blocks);
            format!("{name} is {blocks} blocks behind")
        }
        other => return (StatusCode::NOT_FOUND, format!("a simulated node cannot {other:?}")),
    };
    (StatusCode::OK, done)
}

/// `wanted` if nobody listens there, else any free port.
async fn free_port(wanted: u16) -> Result<u16> {
    match TcpListener::bind(("127.0.0.1", wanted)).await {
        Ok(_) => Ok(wanted),
        Err(_) => Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port()),
    }
}
