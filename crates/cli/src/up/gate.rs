//! The gate's process beside the proxy: started, watched, started again, stopped last.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::screen::Screen;
use crate::context::Context;

/// How long a gate may take to stand before `up` goes on without it.
const STAND: Duration = Duration::from_secs(10);

/// How long it may take to count the last requests and to give leases back.
const STOP: Duration = Duration::from_secs(10);

/// Pauses before it is started again, longer with each time in a row.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Who lived longer than this starts at once again.
const LIVED: Duration = Duration::from_secs(10);

/// A gate that stands, or soon will.
pub(super) struct Gate {
    context: Context,
    screen: Arc<Screen>,
    child: Child,
    since: Instant,
}

impl Gate {
    /// Starts it and waits until it stands. Errs if it ends instead, with what it said.
    pub(super) async fn start(context: &Context, screen: &Arc<Screen>) -> Result<Self> {
        let (child, said) = spawn(context, screen)?;
        let mut gate = Self { context: context.clone(), screen: Arc::clone(screen), child, since: Instant::now() };
        tokio::select! {
            ended = gate.child.wait() => {
                let ended = ended.context("cannot wait for the gate")?;
                // What it said last is on its way.
                let _ = timeout(Duration::from_secs(1), said).await;
                bail!("the gate cannot start ({ended}); what it said stands above");
            }
            stands = timeout(STAND, stands(context)) => if stands.is_err() {
                warn!("the gate does not stand yet; requests are refused until it does");
            },
        }
        Ok(gate)
    }

    /// Starts it again whenever it ends, until `stop` turns true; then stops it, and says whether it ended in order.
    pub(super) async fn keep(mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut row = 0;
        loop {
            let ended = tokio::select! {
                ended = self.child.wait() => ended,
                () = stopped(&mut stop) => return self.stop().await,
            };
            row = if self.since.elapsed() >= LIVED { 0 } else { row + 1 };
            say_ended(ended);
            loop {
                let pause = PAUSES[row.min(PAUSES.len() - 1)];
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stopped(&mut stop) => return false,
                }
                match spawn(&self.context, &self.screen) {
                    Ok((child, _)) => {
                        (self.child, self.since) = (child, Instant::now());
                        break;
                    }
                    Err(error) => {
                        row += 1;
                        error!("the gate cannot be started: {error:#}");
                    }
                }
            }
        }
    }

    async fn stop(mut self) -> bool {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        match timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => true,
            Ok(ended) => {
                warn!(?ended, "the gate has not ended in order");
                false
            }
            Err(_) => {
                warn!("the gate does not stop; it is killed, and what it held is written off");
                let _ = self.child.kill().await;
                false
            }
        }
    }
}

fn say_ended(ended: std::io::Result<ExitStatus>) {
    match ended {
        Ok(status) => warn!(%status, "the gate has ended; it is started again"),
        Err(error) => error!(%error, "cannot wait for the gate"),
    }
}

/// Starts this program as a gate. What it says is shown by the task that comes with it.
fn spawn(context: &Context, screen: &Arc<Screen>) -> Result<(Child, tokio::task::JoinHandle<()>)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let config = std::path::absolute(&context.file)?;
    let mut command = Command::new(program);
    command.arg("gate").arg("--config").arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Ctrl-C in a terminal reaches the whole group; the gate stops after the proxy, when it is told.
    command.process_group(0);
    let mut child = command.spawn().context("cannot start the gate")?;
    let said = child.stderr.take().context("the gate has no error output")?;
    let screen = Arc::clone(screen);
    let shower = tokio::spawn(async move {
        let mut lines = BufReader::new(said).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with('{') {
                screen.gate(&line);
            } else if !line.trim().is_empty() {
                warn!(line, "the gate says");
            }
        }
    });
    Ok((child, shower))
}

/// Waits until the gate says that it is ready.
async fn stands(context: &Context) {
    loop {
        if is_ready(context).await.unwrap_or(false) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn is_ready(context: &Context) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(context.config.gate.admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
