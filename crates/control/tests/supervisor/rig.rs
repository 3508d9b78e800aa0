//! A proxy's folder, a fake node, and certainty that no process is left at the end.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use nodeweir_control::proxy::{Line, Program, Settings, Supervisor};
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::node::SecretName;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{Semaphore, mpsc};

use crate::bodies::{self, Body};
use crate::client::{self, Answer};

/// Long enough for two slow cores; nothing waits that long unless something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The node's key.
pub(crate) const SECRET: &str = "5ecre7of7he0node5ecre7of7he0node";

pub(crate) struct Rig {
    pub(crate) kind: ProxyKind,
    pub(crate) body: Body,
    pub(crate) settings: Settings,
    pub(crate) node: Node,
    pub(crate) lines: mpsc::Receiver<Line>,
    sender: mpsc::Sender<Line>,
    place: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new(kind: ProxyKind) -> Self {
        let node = Node::start().await;
        let port = free_port();
        let body = Body { port, node: node.port, dead: free_port(), text: "one".to_owned(), shutdown: 20 };
        let settings = Settings {
            listen: ([127, 0, 0, 1], port).into(),
            drain: Duration::from_millis(300),
            shutdown: Duration::from_secs(body.shutdown),
        };
        let (sender, lines) = mpsc::channel(100_000);
        Self { kind, body, settings, node, lines, sender, place: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn bound_shutdown(&mut self, seconds: u64) {
        self.body.shutdown = seconds;
        self.settings.shutdown = Duration::from_secs(seconds);
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.place.path().join("run")
    }

    pub(crate) fn supervisor(&self) -> Supervisor {
        self.supervisor_telling(self.sender.clone())
    }

    pub(crate) fn supervisor_telling(&self, lines: mpsc::Sender<Line>) -> Supervisor {
        let program = Program::find(self.kind).unwrap_or_else(|error| panic!("these tests need real proxies: {error}"));
        let secrets = |name: &SecretName| (name.as_str() == "NODE_KEY").then(|| SECRET.to_owned());
        Supervisor::new(program, self.folder(), self.settings, secrets, lines).unwrap()
    }

    /// The text whose `/text` says `text`.
    pub(crate) fn text(&self, text: &str) -> String {
        bodies::render(self.kind, &Body { text: text.to_owned(), ..self.body.clone() })
    }

    /// A supervisor whose proxy runs revision `1-one`.
    pub(crate) async fn started(&self) -> Supervisor {
        let mut supervisor = self.supervisor();
        supervisor.apply("1-one", &self.text("one")).await.unwrap();
        supervisor
    }

    pub(crate) async fn get(&self, path: &str) -> std::io::Result<Answer> {
        client::get(self.body.port, path).await
    }

    /// What `/text` says.
    pub(crate) async fn says(&self) -> String {
        let answer = self.get("/text").await.unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        assert_eq!(answer.status, 200);
        answer.body
    }

    /// A request that the node answers when it is told to, once it has arrived there.
    pub(crate) async fn slow_request(&self) -> tokio::task::JoinHandle<std::io::Result<Answer>> {
        let waiting = self.node.waiting();
        let port = self.body.port;
        let request = tokio::spawn(async move { client::get(port, "/slow").await });
        until("the slow request is at the node", || async { self.node.waiting() > waiting }).await;
        request
    }

    /// Everything that came out so far.
    pub(crate) fn said(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).map(|line| line.text).collect()
    }

    /// The same once a start is over: it is done when one worker answers, and another may yet have to be started.
    pub(crate) async fn all_processes(&self) -> Vec<i32> {
        let usual = bodies::processes(self.kind);
        until("all workers have been started", || async { self.processes().len() == usual }).await;
        self.processes()
    }

    /// Processes that work in the folder, zombies left out.
    pub(crate) fn processes(&self) -> Vec<i32> {
        processes_in(&self.folder())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Ok(in_memory) = std::fs::read_link(self.folder().join("usage")) {
            let _ = std::fs::remove_dir_all(in_memory);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                kill(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

pub(crate) fn processes_in(folder: &Path) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect()
}

/// Polls until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A port that nobody uses, out of the range that the system gives to outgoing connections.
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

/// A fake node: `/slow` answers when released, `/echo/…` tells its path, everything else is `node`.
pub(crate) struct Node {
    pub(crate) port: u16,
    state: NodeState,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct NodeState {
    waiting: Arc<AtomicUsize>,
    releases: Arc<Semaphore>,
}

impl Node {
    async fn start() -> Self {
        let state = NodeState { waiting: Arc::default(), releases: Arc::new(Semaphore::new(0)) };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let slow = |State(state): State<NodeState>| async move {
            state.waiting.fetch_add(1, Ordering::Relaxed);
            state.releases.acquire().await.unwrap().forget();
            "slow"
        };
        let echo = |uri: axum::http::Uri| async move { uri.path().to_owned() };
        let app = Router::new()
            .route("/slow", get(slow))
            .route("/echo/{key}", get(echo))
            .fallback(|| async { "node" })
            .with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, state, server }
    }

    /// Slow requests that ever arrived.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }

    /// Lets `count` slow requests be answered.
    pub(crate) fn release(&self, count: usize) {
        self.state.releases.add_permits(count);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}
