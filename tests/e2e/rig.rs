//! A fleet: a configuration in a folder of its own, `nodeweir up` on it, and people who call `nodeweir`.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::{Answer, Connection};
use crate::nodes::{Anvil, CHAIN};
use crate::process::{DEADLINE, Owned, Proxy, free_port, until, until_or};
use crate::status::Status;

pub(crate) const NODEWEIR: &str = env!("CARGO_BIN_EXE_nodeweir");

/// What `nodeweir` came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Insists on an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Insists on some words, wherever they stand.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words) || self.err.contains(words), "{words:?} is not said: {self:?}");
        self
    }
}

/// Few tests wait until one of these has run out, so they are long enough for a machine that is slow or stands still for
/// a while.
pub(crate) const TIMES: &str = "{connect: 2s, attempt: 5s, total: 21s, keepalive_min: 10s, shutdown: 20s}";
/// How long a node may take for a probe, for the same reason.
pub(crate) const PROBE: &str = "timeout: 12s";
/// For tests that do wait: what to change, and into what.
pub(crate) const BRIEF: [(&str, &str); 2] =
    [("connect: 2s, attempt: 5s, total: 21s", "connect: 500ms, attempt: 1500ms, total: 6s"), (PROBE, "timeout: 2s")];

pub(crate) struct Rig {
    pub(crate) kind: ProxyKind,
    pub(crate) port: u16,
    // Dropped in this order: who would start the proxy again, the proxy, its folder.
    up: Option<Owned>,
    pub(crate) proxy: Proxy,
    pub(crate) place: TempDir,
    /// What `up` sees in its environment besides ours.
    pub(crate) environment: Vec<(&'static str, std::ffi::OsString)>,
    /// The file of `nodeweir`.
    pub(crate) program: PathBuf,
}

impl Rig {
    /// A configuration whose one network, `ethereum`, has this leader.
    pub(crate) fn new(kind: ProxyKind, leader: &Anvil) -> Self {
        Self::with_networks(kind, &[("ethereum", leader)])
    }

    /// The first network is the default one.
    pub(crate) fn with_networks(kind: ProxyKind, networks: &[(&str, &Anvil)]) -> Self {
        Self::with_gate(kind, networks, "{enabled: false}")
    }

    /// The same with a gate, given as YAML between braces.
    pub(crate) fn with_gate(kind: ProxyKind, networks: &[(&str, &Anvil)], gate: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let port = free_port();
        let network = |(id, leader): &(&str, &Anvil)| {
            let url = leader.url();
            format!("  {id}:\n    chain_id: {CHAIN}\n    block_time: 12s\n    leader: {{name: leader, url: '{url}'}}\n")
        };
        let (default, all) = (networks[0].0, networks.iter().map(network).collect::<String>());
        let config = format!(
            "default_network: {default}\nnetworks:\n{all}\
             health: {{interval: 1s, {PROBE}, confirm_after: 1s}}\n\
             proxy:\n  kind: {kind}\n  listen: 127.0.0.1:{port}\n  timeouts: {TIMES}\ngate: {gate}\n"
        );
        fs::write(place.path().join("config.yml"), config).unwrap();
        let proxy = Proxy(place.path().join("nodeweir-state/proxy"));
        Self { kind, port, up: None, proxy, place, environment: Vec::new(), program: NODEWEIR.into() }
    }

    /// A fleet with these own nodes, all of which serve.
    pub(crate) async fn serving(kind: ProxyKind, leader: &Anvil, nodes: &[(&str, &Anvil)]) -> Self {
        Self::serving_with(kind, leader, nodes, &[]).await
    }

    /// The same with changes of the configuration's text.
    pub(crate) async fn serving_with(
        kind: ProxyKind,
        leader: &Anvil,
        nodes: &[(&str, &Anvil)],
        changes: &[(&str, &str)],
    ) -> Self {
        let mut rig = Self::new(kind, leader);
        for (from, to) in changes {
            rig.configure(from, to);
        }
        for (name, node) in nodes {
            rig.run(&["node", "add", "ethereum", name, &node.url()]).await.exits(0);
        }
        rig.up();
        rig.until_all_serve(nodes.iter().map(|(name, _)| *name)).await;
        rig
    }

    /// Changes the configuration's text.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let file = self.place.path().join("config.yml");
        let before = fs::read_to_string(&file).unwrap();
        assert!(before.contains(from), "{from:?} is not in {before}");
        fs::write(file, before.replace(from, to)).unwrap();
    }

    /// A file of the state.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.place.path().join("nodeweir-state").join(name)
    }

    pub(crate) fn published(&self) -> String {
        fs::read_to_string(self.state("published/revision.conf")).unwrap_or_default()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.place.path().join("config.yml")).args(args);
        command.current_dir(self.place.path()).stdin(Stdio::null());
        command
            .env_remove("NODEWEIR_CONFIG")
            .env_remove("NODEWEIR_LOG")
            .env("USER", "operator")
            .env_remove("SUDO_USER");
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Done {
        run(self.command(args)).await
    }

    /// Starts `up`; says nothing about when it serves.
    pub(crate) fn up(&mut self) {
        self.up_by(&["up"]);
    }

    pub(crate) fn up_by(&mut self, words: &[&str]) {
        assert!(self.up.is_none(), "one runs");
        let said = |name| File::options().create(true).append(true).open(self.place.path().join(name)).unwrap();
        let mut command = self.command(words);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.stdout(said("up.out")).stderr(said("up.err")).spawn().unwrap();
        self.up = Some(Owned(child));
    }

    /// All that `up` ever printed to its standard output.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("up.out")).unwrap_or_default()
    }

    /// `kill -9`; the proxy stays.
    pub(crate) fn kill_up(&mut self) {
        self.up.take().expect("it runs").kill();
    }

    /// Asks `up` to end and waits for it.
    pub(crate) async fn stop_up(&mut self) -> ExitStatus {
        let mut up = self.up.take().expect("it runs");
        up.signal(Signal::TERM);
        until("`up` ends", async || up.0.try_wait().unwrap()).await
    }

    /// Sends it a signal.
    pub(crate) fn signal_up(&self, signal: Signal) {
        self.up.as_ref().expect("it runs").signal(signal);
    }

    /// Whether `up` runs.
    pub(crate) fn is_up(&mut self) -> bool {
        self.up.as_mut().is_some_and(Owned::is_alive)
    }

    pub(crate) async fn status(&self) -> Status {
        let done = self.run(&["status", "--json"]).await;
        Status { code: done.code, value: done.json() }
    }

    /// Waits for a status that fulfils `condition`, and says how long it took.
    pub(crate) async fn until_status(&self, what: &str, condition: impl Fn(&Status) -> bool) -> (Status, Duration) {
        let began = Instant::now();
        let last = std::cell::RefCell::new(None);
        let look = async || {
            let status = self.status().await;
            if condition(&status) {
                return Some(status);
            }
            *last.borrow_mut() = Some(status);
            None
        };
        let found = until_or(look, || format!("{}: not in time: {what}\nlast: {:#?}", self.kind, last.borrow()));
        (found.await, began.elapsed())
    }

    /// Waits until these own nodes, and no other, serve in the revision that runs.
    pub(crate) async fn until_all_serve(&self, names: impl IntoIterator<Item = &str> + Clone) -> (Status, Duration) {
        let condition = |status: &Status| {
            let nodes = status.network("ethereum")["nodes"].as_array().unwrap();
            let serving = nodes.iter().filter(|node| node["serves"] == "serves").count();
            let wanted = names.clone().into_iter().count();
            status.live().is_some() && serving == wanted && names.clone().into_iter().all(|name| status.serves(name))
        };
        let names = names.clone().into_iter().collect::<Vec<_>>().join(", ");
        self.until_status(&format!("these serve: {names}"), condition).await
    }

    /// The same, and until there is nothing that a person should look at.
    pub(crate) async fn until_all_is_well(&self, names: impl IntoIterator<Item = &str> + Clone) -> (Status, Duration) {
        let began = Instant::now();
        self.until_all_serve(names).await;
        let is_well = |status: &Status| status.code == 0 && status.problems().is_empty();
        let (status, _) = self.until_status("all is well", is_well).await;
        (status, began.elapsed())
    }

    /// Calls `eth_blockNumber` at the fleet's address.
    pub(crate) async fn call(&self) -> std::io::Result<Answer> {
        self.call_at("/v3").await
    }

    pub(crate) async fn call_at(&self, path: &str) -> std::io::Result<Answer> {
        Connection::call(self.port, path, "eth_blockNumber").await
    }

    /// Who answers a call, which must be answered well.
    pub(crate) async fn endpoint(&self) -> String {
        let answer = self.call().await.unwrap();
        assert!(answer.result().is_some(), "{}: {answer:?}", self.kind);
        answer.endpoint().to_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<_> = said.lines().filter(|line| !line.contains("\"request_id\"")).collect();
            eprintln!("{}: what `up` said last:", self.kind);
            for line in &lines[lines.len().saturating_sub(25)..] {
                eprintln!("  {line}");
            }
            eprintln!("{}", fs::read_to_string(self.place.path().join("up.err")).unwrap_or_default());
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: Command) -> Done {
    let mut command = tokio::process::Command::from(command);
    let output = timeout(DEADLINE, command.kill_on_drop(true).output()).await.expect("it ends").unwrap();
    let Output { status, stdout, stderr } = output;
    let code = status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Done { code, out: text(stdout), err: text(stderr) }
}
