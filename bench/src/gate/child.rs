//! The gate in a process of its own, so that its memory and its time are its own.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nodeweir_sidecar::Settings;
use nodeweir_store::sqlite::SqliteStore;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::setting;

/// The first argument of a process that is to be a gate; then [`Kind`], [`Threads`], and its folder.
pub(crate) const WORD: &str = "be-gate";

/// Names in the folder.
pub(crate) const SOCKET: &str = "sock/gate.sock";
pub(crate) const STORE: &str = "state.db";
pub(crate) const CONFIG: &str = "config.json";

/// No process is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands behind the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads the body and says yes.
    Nothing,
    /// `nodeweir_sidecar`.
    Full,
    /// The same, with rates counted in Redis.
    Shared,
}

/// What tasks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One thread, which also waits for sockets.
    One,
    /// As many as the machine has cores.
    Many,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Full => "full",
            Self::Shared => "shared",
        }
    }
}

impl Threads {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "many",
        }
    }
}

/// What a process that was started by [`Gate::start`] does, until the one that started it lets go.
pub(crate) fn be(words: &[&str]) -> anyhow::Result<()> {
    let [kind, threads, folder] = words else { bail!("{WORD} KIND THREADS FOLDER is expected") };
    std::env::set_current_dir(folder)?;
    let mut builder =
        if *threads == Threads::One.word() { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build()?;
    let (stop, stopping) = watch::channel(false);
    // Its end of the pipe closes with it.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = stop.send(true);
    });
    if *kind == Kind::Nothing.word() { runtime.block_on(nothing(stopping)) } else { runtime.block_on(full(stopping)) }
}

async fn full(stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let config = setting::read_config(&std::fs::read_to_string(CONFIG)?)?;
    let settings = Settings {
        config: Arc::new(config),
        socket: PathBuf::from(SOCKET),
        log: PathBuf::from("usage"),
        sidecar: format!("bench-{}", std::process::id()).parse()?,
        log_name: "bench".parse()?,
        ages: nodeweir_sidecar::Ages::default(),
        is_shared: false,
        patience: nodeweir_sidecar::PATIENCE,
        value: |_| None,
    };
    nodeweir_sidecar::run(settings, SqliteStore::open(Path::new(STORE))?, stopping).await
}

/// The least that `auth_request` can ask: the same server, the body read, no question answered.
async fn nothing(mut stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let listener = UnixListener::bind(SOCKET)?;
    std::fs::set_permissions(SOCKET, Permissions::from_mode(0o666))?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                let _ = request.into_body().collect().await;
                let mut response = Response::new(Full::<Bytes>::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok::<_, Infallible>(response)
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A running gate.
pub(crate) struct Gate {
    child: Child,
    input: Option<ChildStdin>,
}

impl Gate {
    /// Starts one in `folder`, which has its configuration and store, and waits until it listens.
    pub(crate) fn start(kind: Kind, threads: Threads, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([WORD, kind.word(), threads.word()]).arg(folder).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let mut gate = Self { child, input };
        let begun = Instant::now();
        while !folder.join(SOCKET).exists() {
            if let Some(status) = gate.child.try_wait()? {
                bail!("the gate ended at once: {status}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("the gate does not listen after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(gate)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets go of it, and waits until it has ended.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.input.take();
        let status = self.child.wait().context("waiting for the gate")?;
        anyhow::ensure!(status.success(), "the gate failed: {status}");
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.child.wait();
    }
}
