//! `nodeweir up` as an operator runs it, in front of nodes that can be killed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::NetworkId;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{FleetStore as _, Written};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::gate::setting::{self, NETWORK, Ports};
use crate::lanes::free_port;
use crate::nodes::{Counts, Nodes};

const STATE: &str = "nodeweir-state";
/// Nothing takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A running Nodeweir. What it started ends with it.
pub(super) struct Rig {
    pub(super) port: u16,
    /// Where calls go.
    pub(super) path: String,
    store: SqliteStore,
    network: NetworkId,
    // Ends before its folder goes.
    up: Child,
    folder: TempDir,
}

impl Rig {
    /// With the gate where there is one, and a tick every `interval`. The own nodes are `node-0` and so on.
    pub(super) async fn start(kind: ProxyKind, interval: &str, leader: u16, nodes: &[u16]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("nodeweir");
        ensure!(program.is_file(), "{} is not there: bench/run builds it", program.display());
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let ports = Ports { proxy: port, admin: free_port()?, redis: None };
        let text = setting::config_of(kind, kind == ProxyKind::Nginx, ports, 1, leader);
        let mut config: Value = serde_json::from_str(&text)?;
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        config["networks"][NETWORK]["leader"] = json!({"url": url(&leader)});
        config["health"] = json!({"interval": interval});
        fs::write(folder.path().join("config.json"), config.to_string())?;

        let state = folder.path().join(STATE);
        fs::create_dir(&state)?;
        let (store, secrets) = setting::store_with(&state.join("state.db"), 1).await?;
        for (index, node) in nodes.iter().enumerate() {
            let attributes = json!({"url": url(node)}).as_object().cloned().unwrap_or_default();
            let item = Item { network: NETWORK.to_owned(), node: name(index), attributes };
            ensure!(store.put_item(None, &item).await? == Written::Done, "somebody else writes");
        }
        let said = File::create(folder.path().join("said"))?;
        let mut command = Command::new(program);
        command.args(["--config", "config.json", "up"]).current_dir(folder.path()).stdin(Stdio::null());
        let up = command.stderr(said.try_clone()?).stdout(said).spawn()?;
        let path = format!("/v3/{}", secrets[0].reveal());
        let mut rig = Self { port, path, store, network: NETWORK.parse()?, up, folder };
        rig.until_served_by(&(0..nodes.len()).map(name).collect()).await?;
        Ok(rig)
    }

    /// Waits until exactly these own nodes stand in what is published and in what the proxy says it runs.
    pub(super) async fn until_served_by(&mut self, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.serving().await?.as_ref() != Some(wanted) {
            let ended = self.up.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(self.folder.path().join("said"))?;
                bail!("{wanted:?} do not serve; `up` ({ended:?}) says:\n{said}");
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whom the proxy has in its roster, if it runs what is published.
    async fn serving(&self) -> anyhow::Result<Option<BTreeSet<String>>> {
        let published = self.folder.path().join(STATE).join("published/revision.conf");
        let Ok(text) = fs::read_to_string(published) else { return Ok(None) };
        let Ok(revision) = Revision::parse(&text) else { return Ok(None) };
        let running = self.store.runtime().await?.and_then(|runtime| runtime.running);
        let roster = revision.rosters.get(&self.network).filter(|_| running == Some(revision.name()));
        Ok(roster.map(|roster| roster.members.iter().map(|member| member.name.to_string()).collect()))
    }

    /// When the tick began that concluded what is known of a node.
    pub(super) async fn judged_at(&self, node: &str) -> anyhow::Result<Timestamp> {
        let health = self.store.health().await?;
        let statuses = health.get(&self.network).map(|health| &health.statuses);
        let status = statuses.and_then(|statuses| statuses.iter().find(|(name, _)| name.as_str() == node));
        Ok(status.context("nothing is known of the node")?.1.since)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It stops its proxy and its gate.
        if let Some(pid) = Pid::from_raw(self.up.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.up.wait();
    }
}

/// An own node's name.
pub(super) fn name(index: usize) -> String {
    format!("node-{index}")
}

/// A process that is one node; at a port that it had before, if one is given.
pub(super) fn node(port: Option<u16>) -> anyhow::Result<Nodes> {
    Nodes::start_at(Counts { answering: 1, silent: 0 }, port)
}
