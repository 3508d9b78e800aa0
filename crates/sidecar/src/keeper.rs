//! The gate's process as the child of who runs the proxy: started, watched, started again, stopped last.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nodeweir_domain::config::{Config, LimitStore, WhenAway};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::process::is_there;

/// How long a gate may take to stand before who started it goes on without it.
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

/// How often it is asked whether it is ready, and how long it may take to say so.
const LOOK: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// Looks in a row without an answer, half a minute with what each may take, by which one that did answer before is known
/// to hang.
const SILENT: u32 = 6;

/// Lines that are kept of what it said.
const WORDS: usize = 4;

/// What a gate said last beside its log: why it cannot go on.
type Words = Arc<Mutex<VecDeque<String>>>;

/// What to run, and how to know it.
pub struct Job {
    /// The arguments by which this program is a gate.
    pub words: Vec<OsString>,
    /// What it is configured by, too.
    pub config: Config,
    /// The state that it works on.
    pub state: PathBuf,
    /// Is shown each line of its log, which is JSON.
    pub show: Arc<dyn Fn(&str) + Send + Sync>,
}

/// How a gate does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// What is wrong with it, in words.
    pub fault: Option<String>,
    /// How often it ended unasked.
    pub ends: u64,
    /// How often in a row it did so soon after its start.
    pub row: usize,
}

impl Condition {
    /// Whether nobody may pass. Who lets requests pass without a gate serves on.
    pub fn refuses(&self, when_away: WhenAway) -> bool {
        self.fault.is_some() && when_away == WhenAway::Closed
    }
}

/// Who looks after a gate's process, or after none where the gate is off.
pub struct Keeper {
    condition: watch::Receiver<Condition>,
    stop: watch::Sender<bool>,
    keeping: Option<JoinHandle<bool>>,
}

impl Keeper {
    /// Starts a gate, and waits until it stands, or for so long that it may come later. `None` if `told` to stop
    /// meanwhile. Errs if it cannot be started or ends instead, with what it said.
    pub async fn start(job: Option<Job>, told: impl Future<Output = ()>) -> Result<Option<Self>> {
        let (tell, condition) = watch::channel(Condition::default());
        let (stop, stops) = watch::channel(false);
        let Some(job) = job else { return Ok(Some(Self { condition, stop, keeping: None })) };
        let mut child = Kept::start(job, tell)?;
        let is_told = tokio::select! {
            stands = child.stand() => stands.map(|()| false)?,
            () = told => true,
        };
        if is_told {
            child.stop().await;
            return Ok(None);
        }
        let keeping = Some(tokio::spawn(child.keep(stops)));
        Ok(Some(Self { condition, stop, keeping }))
    }

    /// How it does; nothing is ever wrong with none.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }

    /// Stops it: it counts the last requests, and gives its leases back. True if there was one and it did so in order.
    pub async fn stop(self) -> bool {
        let _ = self.stop.send(true);
        match self.keeping {
            Some(keeping) => keeping.await.unwrap_or(false),
            None => false,
        }
    }
}

/// The process.
struct Kept {
    job: Job,
    child: Child,
    since: Instant,
    /// Looks in a row without an answer; none are counted before its first, because one that waits for its store may do so.
    silent: Option<u32>,
    /// Whole once the task has ended, which ends with the process.
    words: Words,
    shower: JoinHandle<()>,
    condition: watch::Sender<Condition>,
}

impl Kept {
    fn start(job: Job, condition: watch::Sender<Condition>) -> Result<Self> {
        // One that was left behind has the address, and makes room for the new one.
        if !is_there(&job.state) {
            let admin = job.config.gate.admin;
            std::net::TcpListener::bind(admin)
                .with_context(|| format!("cannot listen on {admin} (`gate.admin`); is another program there?"))
                .context("the gate cannot start")?;
        }
        let (child, words, shower) = spawn(&job)?;
        Ok(Self { job, child, since: Instant::now(), silent: None, words, shower, condition })
    }

    /// Waits until it stands, or for so long that it may come later. Errs if it ends instead, with what it said.
    async fn stand(&mut self) -> Result<()> {
        tokio::select! {
            ended = self.child.wait() => {
                let ended = ended.context("cannot wait for the gate")?;
                bail!("the gate cannot start ({ended}){}", self.last_words().await);
            }
            stands = timeout(STAND, stands(self.job.config.gate.admin)) => match stands {
                Ok(()) => self.silent = Some(0),
                Err(_) => {
                    warn!("the gate does not stand yet; requests are refused until it does");
                    self.tell(Some("the gate does not stand yet; see its log".to_owned()));
                }
            },
        }
        Ok(())
    }

    /// Starts it again whenever it ends, until `stop` turns true; then stops it, and says whether it ended in order.
    async fn keep(mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut row = 0;
        loop {
            let ended = tokio::select! {
                ended = self.child.wait() => ended,
                is_ready = look(self.job.config.gate.admin) => {
                    self.judge(is_ready, row);
                    if self.hangs(is_ready) {
                        warn!("the gate does not answer any more; it is killed, and what it held is written off");
                        // It may end by itself at this moment.
                        let _ = self.child.start_kill();
                    }
                    continue;
                }
                () = stopped(&mut stop) => return self.stop().await,
            };
            row = if self.since.elapsed() >= LIVED { 0 } else { row + 1 };
            self.condition.send_modify(|told| (told.ends, told.row) = (told.ends + 1, row));
            self.say_ended(ended).await;
            loop {
                let pause = PAUSES[row.min(PAUSES.len() - 1)];
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stopped(&mut stop) => return false,
                }
                match spawn(&self.job) {
                    Ok((child, words, shower)) => {
                        (self.child, self.words, self.shower, self.since) = (child, words, shower, Instant::now());
                        self.silent = None;
                        break;
                    }
                    Err(error) => {
                        row += 1;
                        error!("the gate cannot be started: {error:#}");
                        self.tell(Some(format!("the gate cannot be started: {error:#}")));
                    }
                }
            }
        }
    }

    /// Concludes from whether it is ready, `row` times after it had ended early, whether all is well.
    fn judge(&self, is_ready: bool, row: usize) {
        let lived = self.since.elapsed();
        if !is_ready && lived >= STAND {
            let admin = self.job.config.gate.admin;
            self.tell(Some(format!("the gate runs, but is not ready at {admin} (`gate.admin`); see its log")));
        } else if is_ready && (row == 0 || lived >= LIVED) {
            // One that ends again and again may be ready in between.
            self.tell(None);
        }
    }

    /// Counts whether it answered, and says whether it hangs.
    fn hangs(&mut self, is_ready: bool) -> bool {
        self.silent = if is_ready { Some(0) } else { self.silent.map(|looks| looks + 1) };
        self.silent >= Some(SILENT)
    }

    fn tell(&self, fault: Option<String>) {
        self.condition.send_if_modified(|told| {
            let is_news = told.fault != fault;
            told.fault = fault;
            is_news
        });
    }

    async fn say_ended(&mut self, ended: std::io::Result<ExitStatus>) {
        match ended {
            Ok(status) => {
                warn!(%status, "the gate has ended; it is started again");
                let words = self.last_words().await;
                self.tell(Some(format!("the gate has ended ({status}) and is started again{words}")));
            }
            Err(error) => {
                error!(%error, "cannot wait for the gate");
                self.tell(Some(format!("cannot wait for the gate: {error}")));
            }
        }
    }

    /// What it said last, after a colon, on one line; nothing if it said nothing.
    async fn last_words(&mut self) -> String {
        // They are on their way.
        let _ = timeout(Duration::from_secs(1), &mut self.shower).await;
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = words.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        if words.is_empty() { words } else { format!(": {}", words.trim_start_matches("nodeweir: ")) }
    }

    /// Stops it, and says whether it ended in order.
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

/// This very program, whatever has become of its file since it was started: after an upgrade in place a gate that dies is
/// still followed by one of the same version, which speaks with this proxy's configuration.
fn this_program() -> Result<PathBuf> {
    let file = std::env::current_exe().context("cannot find this program")?;
    // Only then, because processes started by it are called `exe` in lists.
    Ok(if file.exists() { file } else { PathBuf::from("/proc/self/exe") })
}

/// Starts it. What it says is shown by the task that comes with it, and the last of it is kept.
fn spawn(job: &Job) -> Result<(Child, Words, JoinHandle<()>)> {
    let mut command = Command::new(this_program()?);
    command.args(&job.words);
    // It speaks to no node; only to who counts rates, if that is somebody else.
    let own = match &job.config.gate.limits {
        LimitStore::Redis(url) => url.password.as_ref(),
        LimitStore::Local => None,
    };
    for secret in job.config.secrets.0.keys().filter(|name| Some(*name) != own) {
        command.env_remove(secret.as_str());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Ctrl-C in a terminal reaches the whole group; the gate stops after the proxy, when it is told. Whoever gives up
    // without telling it leaves none behind.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start the gate")?;
    let said = child.stderr.take().context("the gate has no error output")?;
    let words = Words::default();
    let (show, kept) = (Arc::clone(&job.show), Arc::clone(&words));
    let shower = tokio::spawn(async move {
        let mut lines = BufReader::new(said).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.trim().is_empty() {
                continue;
            }
            if line.starts_with('{') {
                show(&line);
            } else {
                warn!(line, "the gate says");
                keep_word(&kept, line);
            }
        }
    });
    Ok((child, words, shower))
}

fn keep_word(words: &Mutex<VecDeque<String>>, line: String) {
    let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
    words.push_back(line);
    while words.len() > WORDS {
        words.pop_front();
    }
}

/// Asks it, after a while, whether it is ready.
async fn look(admin: SocketAddr) -> bool {
    sleep(LOOK).await;
    matches!(timeout(ANSWER, is_ready(admin)).await, Ok(Ok(true)))
}

/// Waits until the gate says that it is ready.
async fn stands(admin: SocketAddr) {
    loop {
        if is_ready(admin).await.unwrap_or(false) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn is_ready(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_is_away_refuses_unless_it_is_to_be_open() {
        let away = Condition { fault: Some("it has ended".to_owned()), ..Condition::default() };
        assert!(away.refuses(WhenAway::Closed) && !away.refuses(WhenAway::Open));
        assert!(!Condition::default().refuses(WhenAway::Closed));
    }
}
