//! A running gate and a client that speaks to it as nginx does.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_sidecar::{Ages, Settings};
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::faulty::Faulty;

/// Nothing takes nearly as long unless something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What the secret `REDIS` is.
pub(crate) const PASSWORD: &str = "correct-horse";

/// What the gate said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The refusal's JSON.
    pub(crate) fn refusal(&self) -> &str {
        self.header("x-gate-refusal").unwrap_or_default()
    }
}

pub(crate) struct Rig {
    pub(crate) store: Faulty,
    pub(crate) folder: TempDir,
    pub(crate) admin: SocketAddr,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Rig {
    /// `gate` is YAML between braces, after the admin address.
    pub(crate) async fn start(gate: &str) -> Self {
        Self::start_with(gate, Ages::default()).await
    }

    /// One for which keys age faster, or slower.
    pub(crate) async fn start_with(gate: &str, ages: Ages) -> Self {
        // So that a machine that has no time for a moment changes nothing.
        Self::start_patient(gate, ages, Duration::from_secs(2)).await
    }

    /// One that waits so long for who counts rates.
    pub(crate) async fn start_patient(gate: &str, ages: Ages, patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Faulty::new(SqliteStore::open(&folder.path().join("state.db")).unwrap());
        std::fs::create_dir(folder.path().join("usage")).unwrap();
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = format!(
            "default_network: ethereum\nnetworks:\n  ethereum: {{chain_id: 1, block_time: 12s, leader: {{url: 'http://127.0.0.1:1'}}}}\n\
             secrets: {{REDIS: {{hosts: [127.0.0.1]}}}}\ngate: {{admin: '{admin}'{gate}}}\n"
        );
        let settings = Settings {
            config: Arc::new(Config::read(&text).unwrap()),
            socket: folder.path().join("gate.sock"),
            log: folder.path().join("usage"),
            sidecar: "one".parse().unwrap(),
            log_name: "local".parse().unwrap(),
            ages,
            is_shared: false,
            patience,
            value: |name| (name.as_str() == "REDIS").then(|| PASSWORD.to_owned()),
        };
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(nodeweir_sidecar::run(settings, store.clone(), stopping));
        let mut rig = Self { store, folder, admin, stop, running: Some(running) };
        let end = Instant::now() + DEADLINE;
        while rig.admin("/readyz").await.is_none() {
            let running = rig.running.take().unwrap();
            assert!(!running.is_finished() && Instant::now() < end, "{:?}", running.await);
            rig.running = Some(running);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rig
    }

    /// A project of a tier with one key.
    pub(crate) async fn key(&self, project: &str, tier: &str, seed: u8, restrictions: Restrictions) -> String {
        let id: ProjectId = project.parse().unwrap();
        let created = Timestamp::now();
        let made = Project {
            id: id.clone(),
            tier: tier.parse().unwrap(),
            created,
            requests_per_second: None,
            credits_per_month: None,
            methods: vec![],
            websocket: false,
        };
        // Several keys may be of one project.
        let _ = self.store.inner.put_project(None, &made).await.unwrap();
        let secret = Secret::from_random(&[seed; 64]).unwrap();
        let name = format!("key-{seed}").parse().unwrap();
        let digest = secret.digest();
        let key = Key { digest, project: id, name, restrictions, created, expires: None, revoked: None };
        assert_eq!(self.store.inner.put_key(None, &key).await.unwrap(), Written::Done);
        secret.reveal().to_owned()
    }

    pub(crate) async fn account(&self, project: &str) -> Option<Account> {
        let period = Period::of(Timestamp::now());
        self.store.inner.account(&project.parse().unwrap(), period).await.unwrap()
    }

    /// Asks as nginx does for a request with this key in its path.
    pub(crate) async fn gate(&self, key: &str, body: &str) -> Said {
        self.ask("/gate", &[("X-Gate-Path-Key", key)], body).await
    }

    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let mut stream = UnixStream::connect(self.folder.path().join("gate.sock")).await.unwrap();
        let more = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nX-Gate-Kind: rpc\r\nX-Gate-Network: ethereum\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        parse(&answer)
    }

    pub(crate) async fn admin(&self, path: &str) -> Option<Said> {
        let mut stream = TcpStream::connect(self.admin).await.ok()?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(parse(&answer))
    }

    /// The value of a metric, labels and all.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.admin("/metrics").await.unwrap().body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// The log that nginx writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("usage/requests.log")
    }

    /// Tells it to stop.
    pub(crate) fn tell_to_stop(&self) {
        self.stop.send(true).unwrap();
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Faulty {
        self.tell_to_stop();
        self.running.take().unwrap().await.unwrap().unwrap();
        self.store.clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// A port that nobody uses, out of the range that the system gives to others meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn parse(answer: &str) -> Said {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Said { status, headers: headers.collect(), body: body.to_owned() }
}

/// Waits until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call with the id 1.
pub(crate) fn call(method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#)
}
