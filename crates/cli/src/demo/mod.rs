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
use nodeweir_domain::gate::key::{Key, KeyStatus, Secret};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Event, FleetStore as _, GateStore as _};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::commands::random_secret;
use crate::context::Context;
use crate::up::local_url;
pub(crate) use command::command;
use node::SimulatedNode;

/// The simulated network's leader and nodes.
const LEADER: &str = "leader";
const NODES: [&str; 3] = ["alpha", "beta", "gamma"];
/// The demo's project, and the name of its key.
const PROJECT: &str = "demo";
/// Where the address to call stands, key and all, in the demo's folder.
const ADDRESS: &str = "address";
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
        let earlier = Context::load(Some(&file), None).ok();
        // An earlier demo that still runs keeps its files; `up` refuses to start beside it.
        if let Some(context) = earlier.as_ref().filter(|context| context.is_up()) {
            return Ok(context.clone());
        }
        // One that was killed left its proxy behind, which is about to be taken over, port and all.
        let (port, admin) = match earlier.filter(|context| context.state.join("proxy/proxy.pid").exists()) {
            Some(context) => (context.config.proxy.listen.port(), context.config.gate.admin.port()),
            None => (free_port(8080).await?, free_port(8081).await?),
        };
        let config = format!(
            "# Made anew by each `nodeweir up --demo`: a fast network of simulated nodes.\n\
             state: state\n\
             networks:\n  ethereum:\n    chain_id: 1337\n    block_time: {}s\n    leader:\n      name: {LEADER}\n      url: {}\n\
             health:\n  interval: 2s\n  timeout: 1s\n  confirm_after: 1s\n\
             proxy:\n  listen: 127.0.0.1:{}\n  timeouts:\n    shutdown: 5s\n\
             gate:\n  admin: 127.0.0.1:{}\n",
            node::BLOCK_SECONDS,
            self.url(LEADER)?,
            port,
            admin,
        );
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let control = self.control.local_addr()?.to_string();
        fs::write(folder.join(CONTROL), control).with_context(|| format!("cannot write into {}", folder.display()))?;
        let context = Context::load(Some(&file), None)?;
        self.list(&context).await?;
        let address = admit(&context, folder).await?;
        Ok(Context { demo_address: Some(address), ..context })
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

/// Makes the demo's project and a key for it, and says where to call. The address, key and all, is kept in a file of the
/// demo's folder: nothing but simulated nodes is behind it.
async fn admit(context: &Context, folder: &Path) -> Result<String> {
    let store = context.store()?;
    let (id, tier): (ProjectId, _) = (PROJECT.parse()?, "professional".parse()?);
    let now = jiff::Timestamp::now();
    if store.project(&id).await?.is_none() {
        let project = Project {
            id: id.clone(),
            tier,
            created: now,
            requests_per_second: None,
            credits_per_month: None,
            methods: Vec::new(),
            websocket: false,
        };
        // Nobody else makes projects in a demo that does not run.
        let _ = store.put_project(None, &project).await?;
    }
    let file = folder.join(ADDRESS);
    let base = context.addresses().into_iter().next().context("the demo has no network")?;
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let kept = kept.trim().rsplit('/').next().and_then(|text| text.parse::<Secret>().ok());
    let known = match &kept {
        Some(secret) => store.key(&secret.digest()).await?.filter(|key| key.status(now) == KeyStatus::Active),
        None => None,
    };
    let secret = match (kept, known) {
        (Some(secret), Some(_)) => secret,
        _ => {
            let secret = random_secret()?;
            let digest = secret.digest();
            // Whose text is lost makes room for another of its name.
            for old in store.keys(&id).await?.iter().filter(|key| key.name.as_str() == PROJECT && key.revoked.is_none())
            {
                let _ = store.put_key(Some(old), &Key { revoked: Some(now), ..old.clone() }).await?;
            }
            let name = PROJECT.parse()?;
            let restrictions = Restrictions::default();
            let key = Key { digest, project: id, name, restrictions, created: now, expires: None, revoked: None };
            let _ = store.put_key(None, &key).await?;
            secret
        }
    };
    let address = format!("{base}/{}", secret.reveal());
    fs::write(&file, format!("{address}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(address)
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
