//! A container's process in a world of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use nodeweir_aws::Tables;
use nodeweir_control::edges::PublishedObject as _;
use nodeweir_control::folder::FolderObject;
use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::fleet::node::list;
use nodeweir_domain::fleet::plan::{World as Known, plan};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_emulator::{Client, Moto, Proxy as Aws};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::client::{Answer, Connection};
use crate::process::{Owned, Proxy, free_port, send, until, until_or};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_nodeweir-proxy");

/// A bucket, a folder to write to, a port.
pub(crate) struct Rig {
    pub(crate) aws: Aws,
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) port: u16,
    /// The configuration's leader, by its port.
    leader: u16,
    /// Of the leader's URL.
    pub(crate) path: &'static str,
    /// More sections of the configuration.
    pub(crate) sections: &'static str,
    /// The proxy's.
    pub(crate) timeouts: &'static str,
    /// Between two looks at what is published.
    pub(crate) look: &'static str,
    /// The gate's own port, if it is on; then what is published is a folder, unless the gate has tables.
    pub(crate) admin: Option<u16>,
    /// The gate's, if it shares them with others.
    pub(crate) tables: Option<Tables>,
    /// More keys of its section, with a comma before each.
    pub(crate) gate: String,
    /// What the process writes to, as it sees it.
    pub(crate) state: PathBuf,
    place: TempDir,
}

impl Rig {
    pub(crate) async fn new(leader: u16) -> Self {
        Self::on(Aws::start(Moto::shared()), leader).await
    }

    /// One in this account, for a bucket of its own.
    pub(crate) async fn on(aws: Aws, leader: u16) -> Self {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let client = aws.client();
        let bucket = format!("published-{}-{}", aws.account(), BUCKETS.fetch_add(1, Ordering::Relaxed));
        let region = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
        let made = client.send("s3", "PUT", &format!("/{bucket}"), &[], region).await.unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
        let place = tempfile::tempdir().unwrap();
        Self {
            aws,
            client,
            bucket,
            port: free_port(),
            leader,
            path: "",
            sections: "",
            timeouts: "connect: 500ms, attempt: 5s, total: 20s, keepalive_min: 1s, shutdown: 3s, drain: 1s",
            look: "3s",
            admin: None,
            tables: None,
            gate: String::new(),
            state: place.path().to_owned(),
            place,
        }
    }

    /// The same with the gate on, beside a folder.
    pub(crate) async fn gated(leader: u16) -> Self {
        Self { admin: Some(free_port()), ..Self::new(leader).await }
    }

    fn is_beside_a_folder(&self) -> bool {
        self.admin.is_some() && self.tables.is_none()
    }

    /// The configuration with a leader of this name at a port.
    fn config(&self, name: &str, leader: u16) -> String {
        let Self { port, path, sections, timeouts, .. } = self;
        let gate = match self.admin {
            Some(port) => format!("{{admin: '127.0.0.1:{port}'{}}}", self.gate),
            None => "{enabled: false}".to_owned(),
        };
        format!(
            "networks:
  ethereum:
    chain_id: 1337
    block_time: 12s
    leader: {{name: {name}, url: 'http://127.0.0.1:{leader}{path}', ws_url: 'ws://127.0.0.1:{leader}{path}'}}
proxy:
  listen: 127.0.0.1:{port}
  timeouts: {{{timeouts}}}
gate: {gate}
{sections}"
        )
    }

    /// A revision in which a node of this name serves alone.
    pub(crate) fn revision(&self, seq: u64, name: &str, port: u16) -> Revision {
        let config = Config::read(&self.config(name, port)).unwrap();
        let (listed, health, at) = (list(&[], &config), BTreeMap::new(), Timestamp::now());
        let known = Known {
            config: &config,
            listed: &listed,
            health: &health,
            published: None,
            is_intact: false,
            pin: None,
            now: at,
        };
        let plan = plan(known);
        let (rosters, body) = (plan.rosters, plan.body);
        Revision { seq, proxy: ProxyKind::Nginx, at, reason: "a test".to_owned(), rosters, body }
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("published")
    }

    pub(crate) async fn publish(&self, text: &str) {
        if self.is_beside_a_folder() {
            let object = FolderObject::open(&self.folder()).unwrap();
            let seen = object.get().await.unwrap().map(|(etag, _)| etag);
            assert!(object.put(seen.as_ref(), text).await.unwrap());
            return;
        }
        let path = format!("/{}/revision.conf", self.bucket);
        let reply = self.client.send("s3", "PUT", &path, &[], text.to_owned()).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Starts it; `words` come before the program's own.
    pub(crate) fn start_by(&self, words: &[&str]) -> Container {
        let said = self.place.path().join("said");
        let file = File::options().create(true).append(true).open(&said).unwrap();
        let line: Vec<&str> = words.iter().copied().chain([PROGRAM]).collect();
        let mut command = self.command(&line);
        command.stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
        let proxy = Proxy(self.place.path().join("proxy"));
        Container { child: Owned(command.spawn().unwrap()), port: self.port, said, proxy }
    }

    /// A command in the environment of a task.
    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]);
        command.env("NODEWEIR_CONFIG_TEXT", self.config("leader", self.leader));
        if self.is_beside_a_folder() {
            command.env("NODEWEIR_FOLDER", self.folder());
        } else {
            command.env("NODEWEIR_BUCKET", &self.bucket);
        }
        if let Some(Tables { gate, usage, .. }) = &self.tables {
            command.env("NODEWEIR_GATE_TABLE", gate).env("NODEWEIR_USAGE_TABLE", usage);
        }
        command.env("NODEWEIR_STATE", &self.state).env("NODEWEIR_LOOK", self.look);
        command.env("AWS_ENDPOINT_URL", self.aws.url());
        command
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "task")
            .env("AWS_SECRET_ACCESS_KEY", "nothing");
        command
    }

    /// What `nodeweir-proxy ready` says, and whether it exits with 0.
    pub(crate) fn ready(&self) -> (bool, String) {
        let done = self.command(&[PROGRAM, "ready"]).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    }

    pub(crate) fn start(&self) -> Container {
        self.start_by(&[])
    }
}

/// The process of the gate, if one runs.
pub(crate) fn gate_of(rig: &Rig) -> Option<i32> {
    fs::read_to_string(rig.state.join("gate.lock")).ok()?.trim().parse().ok()
}

/// The process, and the proxy under it, which ends with the test even if the process was killed.
pub(crate) struct Container {
    pub(crate) child: Owned,
    port: u16,
    said: PathBuf,
    pub(crate) proxy: Proxy,
}

impl Container {
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    pub(crate) async fn says(&self, words: &str) {
        let look = async || self.said().contains(words).then_some(());
        until_or(look, || format!("it does not say {words:?} but: {}", self.said())).await;
    }

    pub(crate) async fn call(&self) -> std::io::Result<Answer> {
        self.call_by("key").await
    }

    pub(crate) async fn call_by(&self, key: &str) -> std::io::Result<Answer> {
        Connection::call(self.port, &format!("/ethereum/v3/{key}"), "eth_blockNumber").await
    }

    /// Waits until this node answers clients.
    pub(crate) async fn serves(&self, name: &str) {
        self.serves_by("key", name).await;
    }

    /// Waits until this node answers whoever has this key.
    pub(crate) async fn serves_by(&self, key: &str, name: &str) {
        let look = async || {
            let answer = self.call_by(key).await.ok().filter(|answer| answer.status == 200)?;
            (answer.endpoint() == name).then_some(())
        };
        until_or(look, || format!("{name} does not serve; it says: {}", self.said())).await;
    }

    /// The name of the revision that the proxy says it runs.
    pub(crate) async fn running(&self) -> Option<String> {
        let mut stream = UnixStream::connect(self.proxy.0.join("sock/admin.sock")).await.ok()?;
        stream.write_all(b"GET /revision HTTP/1.0\r\nHost: x\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.trim().to_owned())
    }

    /// The status of `/readyz`; none if nobody listens.
    pub(crate) async fn ready(&self) -> Option<u16> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// Tells the first process of the namespace that the process made to stop.
    pub(crate) async fn stop_first_process(&self) {
        let first = until("there is a first process", async || children(self.child.0.id()).first().copied()).await;
        send(i32::try_from(first).unwrap(), Signal::TERM);
    }

    /// Tells it to stop, and waits for its exit code.
    pub(crate) async fn stop(&mut self) -> i32 {
        self.child.signal(Signal::TERM);
        self.ends().await
    }

    pub(crate) async fn ends(&mut self) -> i32 {
        let status = until("it ends", async || self.child.0.try_wait().unwrap()).await;
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

/// The processes that a process started or adopted.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
