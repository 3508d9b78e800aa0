//! The gate's process: its log, its place, its signals. Whoever runs the proxy has it as a child, see [`super::Keeper`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::name::{LogName, SidecarId};
use nodeweir_store::{GateStore, StoreError};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::{Ages, PATIENCE, Settings};

/// How long a predecessor may take to give back what it holds before it is killed.
const SUCCEED: Duration = Duration::from_secs(5);

/// Who runs holds it, and its process stands in it.
const LOCK: &str = "gate.lock";

/// Holds the name of the access log.
const LOG_NAME: &str = "log-name";

/// How long to wait before a store that cannot be opened is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Where a gate's process works, and by what.
#[derive(Debug, Clone)]
pub struct Process {
    /// Everything that a person configured.
    pub config: Arc<Config>,
    /// The folder of its lock, and of `proxy`, where the proxy works.
    pub state: PathBuf,
    /// Whether gates on other machines work on the same store.
    pub is_shared: bool,
}

impl Process {
    /// Runs a gate over the store that `open` opens, until SIGTERM or Ctrl-C. Takes the log, which goes to the error
    /// output as lines of JSON. A store that cannot be opened is tried again, unless it is a newer version's.
    pub async fn run<S>(self, open: impl AsyncFn() -> Result<S>) -> Result<()>
    where
        S: GateStore + Clone + 'static,
    {
        // Whoever reads the log may have stopped reading; requests must not wait for that.
        let (log, _guard) = tracing_appender::non_blocking(std::io::stderr());
        let filter = EnvFilter::try_from_env("NODEWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_writer(log)
            .json()
            .flatten_event(true)
            .init();

        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let proxy = self.state.join("proxy");
        // Absolute from here on, because it works there.
        let state = std::path::absolute(&self.state)?;
        std::env::set_current_dir(&proxy).with_context(|| format!("cannot work in {}", proxy.display()))?;
        let _lock = succeed(&state).await?;
        let (stop, stopping) = watch::channel(false);
        let settings = Settings {
            config: self.config,
            socket: PathBuf::from("sock/gate.sock"),
            log: PathBuf::from("usage"),
            sidecar: own_name()?,
            log_name: if self.is_shared { log_name(&state)? } else { "local".parse()? },
            ages: if self.is_shared { Ages::SPARING } else { Ages::default() },
            is_shared: self.is_shared,
            patience: PATIENCE,
            value: |name| std::env::var(name.as_str()).ok(),
        };
        let store = tokio::select! {
            store = opened(open) => store?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let mut running = std::pin::pin!(crate::run(settings, store, stopping));
        tokio::select! {
            ended = running.as_mut() => return ended,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        let _ = stop.send(true);
        running.await
    }
}

/// A name that no gate had before, on whatever machine: leases belong to whoever bears it.
fn own_name() -> Result<SidecarId> {
    Ok(format!("gate-{}-{}", Timestamp::now().as_millisecond(), random()?).parse()?)
}

/// The name of this machine's access log, which no other's has.
fn log_name(state: &Path) -> Result<LogName> {
    let file = state.join(LOG_NAME);
    match std::fs::read_to_string(&file) {
        Ok(name) if name.trim().parse::<LogName>().is_ok() => return Ok(name.trim().parse()?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
        // It was not written to its end; then nothing was counted under it.
        _ => {}
    }
    let name: LogName = format!("log-{}-{}", Timestamp::now().as_millisecond(), random()?).parse()?;
    std::fs::write(&file, name.as_str()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(name)
}

fn random() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

async fn opened<S>(open: impl AsyncFn() -> Result<S>) -> Result<S> {
    let mut said = false;
    loop {
        match open().await {
            Ok(store) => return Ok(store),
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Newer { .. })) => return Err(error),
            Err(error) if !said => {
                error!("the store cannot be used: {error:#}; this is tried again");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes the place of a gate that was left behind by somebody who was killed.
async fn succeed(state: &Path) -> Result<File> {
    let mut file = outlive(state).await?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Whether a gate runs on this state.
pub fn is_there(state: &Path) -> bool {
    let Ok(lock) = File::open(state.join(LOCK)) else { return false };
    matches!(flock(&lock, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
}

/// Ends the gate that runs on this state, if there is one, and returns its lock. That says that it lives, and who it is.
pub async fn outlive(state: &Path) -> Result<File> {
    let path = state.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let begun = Instant::now();
    let mut signalled = None;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        let how = if begun.elapsed() < SUCCEED { Signal::TERM } else { Signal::KILL };
        if signalled != Some(how) {
            signalled = Some(how);
            let mut holder = String::new();
            file.rewind()?;
            file.read_to_string(&mut holder)?;
            let holder = holder.trim().parse().ok().and_then(Pid::from_raw);
            if let Some(holder) = holder {
                info!(pid = holder.as_raw_nonzero().get(), "an earlier gate is told to end");
                // It may end by itself at this moment.
                let _ = kill_process(holder, how);
            }
        }
        if begun.elapsed() > 2 * SUCCEED {
            bail!("another gate holds {} and does not end", path.display());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
