//! Keeps the proxy on what is published.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nodeweir_aws::{S3Object, connect};
use nodeweir_control::edges::{Etag, Looked, PublishedObject};
use nodeweir_control::folder::FolderObject;
use nodeweir_control::limits::raise_open_files;
use nodeweir_control::proxy::{ApplyError, Line, Program, Settings as ProxySettings, Source, Supervisor};
use nodeweir_control::told::Told;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::SecretName;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_sidecar::{Condition, Keeper};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::settings::{Published, Settings};
use crate::tally::{self, Tally};
use crate::{builtin, gate};

/// By how much of it the pause between two looks at what is published differs: many tasks do not ask together.
const JITTER: f64 = 0.2;
/// How long a look may take, and the first one: then a start begins with something else.
const ANSWER: Duration = Duration::from_secs(10);
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// Between two looks after the log of what was used.
const UPKEEP: Duration = Duration::from_secs(1);
/// Restarts in a row that come to nothing before the container gives up: with their pauses, a minute of the proxy.
const RESTARTS: u32 = 7;
/// Lines of the proxy that wait to be printed, and for how long the last ones.
const LINES: usize = 4096;
const LAST_LINES: Duration = Duration::from_secs(2);

struct Follower<O> {
    config: Config,
    published: Arc<O>,
    /// Between two looks at it, about.
    pause: Duration,
    supervisor: Supervisor,
    gate: watch::Receiver<Condition>,
    /// Under whose name CloudWatch is told.
    stage: Option<String>,
    tally: Tally,
    /// What was looked at last and needs no second look: it runs, or never can.
    seen: Option<Etag>,
    /// Whether anything was ever run.
    is_begun: bool,
    /// How often in a row it could not be looked at.
    failures: u32,
    /// How often something published was refused.
    refused: u64,
}

/// Runs until it is told to stop. Errs when the proxy cannot be kept running.
pub(crate) fn run(settings: Settings) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(open(settings))
}

async fn open(settings: Settings) -> Result<()> {
    info!(published = ?settings.published, state = %settings.state.display(), "starting");
    match settings.published.clone() {
        Published::Bucket(bucket) => follow(settings, S3Object::new(&connect(None).await, bucket)).await,
        Published::Folder(folder) => {
            let object = FolderObject::open(&folder)?;
            follow(settings, object).await
        }
    }
}

async fn follow<O: PublishedObject>(settings: Settings, published: O) -> Result<()> {
    let mut told = Told::listen()?;
    let job = settings.config.gate.enabled.then(|| gate::job(&settings));
    let Settings { config, state, look, stage, .. } = settings;
    raise_open_files();
    let program = Program::find(config.proxy.kind)?;
    let (to, lines) = mpsc::channel(LINES);
    let printer = tokio::spawn(print(lines));
    let proxy = ProxySettings::from(&config.proxy);
    let value = |name: &SecretName| std::env::var(name.as_str()).ok();
    let supervisor = Supervisor::new(program, state.join("proxy"), proxy, value, to)?;
    let Some(keeper) = Keeper::start(job, told.to_stop()).await? else { return Ok(()) };
    let mut follower = Follower {
        config,
        published: Arc::new(published),
        pause: look,
        supervisor,
        gate: keeper.condition(),
        stage,
        tally: Tally::default(),
        seen: None,
        is_begun: false,
        failures: 0,
        refused: 0,
    };
    let ended = tokio::select! {
        ended = follower.keep() => ended,
        () = told.to_stop() => Ok(()),
    };
    // What happened since the last minute would be lost, and it may be why this ends.
    follower.tell();
    info!("stopping: no new requests, and those in flight are finished");
    let mut supervisor = follower.supervisor;
    supervisor.stop_or_hurry(told.to_stop()).await;
    // After the proxy: the last requests are in its log, and leases go back after them.
    if keeper.stop().await
        && let Err(error) = supervisor.discard_used()
    {
        warn!(%error, "the log of what was used stays, although all of it was read");
    }
    drop(supervisor);
    // The end of the lines is the end of all who can print any: if one could not be ended, it is not waited for.
    let _ = timeout(LAST_LINES, printer).await;
    ended
}

impl<O: PublishedObject> Follower<O> {
    async fn keep(&mut self) -> Result<()> {
        let (mut asking, mut upkeep) = (Box::pin(self.ask(Duration::ZERO)), Instant::now());
        let (mut restart, mut restarts) = (None, 0);
        let (mut tell, mut gate) = (Instant::now(), self.gate.clone());
        loop {
            tokio::select! {
                looked = &mut asking => {
                    self.heed(looked).await;
                    asking = Box::pin(self.ask(varied(self.pause)));
                }
                () = sleep_until(upkeep) => {
                    if let Err(error) = self.supervisor.upkeep() {
                        warn!(%error, "the log of what was used cannot be looked after");
                    }
                    upkeep = Instant::now() + UPKEEP;
                }
                Ok(()) = gate.changed() => {
                    let condition = gate.borrow_and_update().clone();
                    self.heed_gate(condition)?;
                }
                () = sleep_until(tell) => {
                    self.tell();
                    tell += tally::EVERY;
                }
                exited = self.supervisor.exited(), if restart.is_none() => {
                    warn!("{exited}");
                    self.tally.proxy_restarts += 1;
                    let pause = self.supervisor.pause();
                    // The first of a new row waits for nothing.
                    restarts = if pause.is_zero() { 1 } else { restarts + 1 };
                    if restarts > RESTARTS {
                        bail!("{} does not stay up, although it was started {RESTARTS} times in a row", exited.kind);
                    }
                    restart = Some(Instant::now() + pause);
                }
                () = sleep_until(restart.unwrap_or(upkeep)), if restart.is_some() => {
                    restart = None;
                    match self.supervisor.restart().await {
                        Ok(()) => info!("the proxy was started again"),
                        Err(error) => error!(%error, "the proxy cannot be started"),
                    }
                }
            }
        }
    }

    fn tell(&mut self) {
        if let Some(stage) = &self.stage {
            self.tally.print(stage);
        }
    }

    /// As long as nobody may pass, other tasks should be asked. Errs if the gate does not stay.
    fn heed_gate(&mut self, condition: Condition) -> Result<()> {
        let is_refusing = condition.refuses(self.config.gate.when_away);
        if let Err(error) = self.supervisor.set_refusing(is_refusing) {
            warn!(%error, "/readyz cannot be made to say how the gate does");
        }
        let Condition { fault, ends, row } = condition;
        self.tally.gate_ends = ends;
        match fault {
            Some(fault) if row > RESTARTS as usize => bail!("the gate does not stay up: {fault}"),
            Some(fault) if is_refusing => warn!(fault, "not ready: nobody may pass"),
            Some(fault) => warn!(fault, "requests pass without the gate"),
            None => {}
        }
        Ok(())
    }

    /// Waits, and looks at what is published. Whatever else happens does not wait for the answer.
    fn ask(&self, pause: Duration) -> impl Future<Output = Result<Looked, String>> + use<O> {
        let (published, seen) = (Arc::clone(&self.published), self.seen.clone());
        let patience = if self.is_begun { ANSWER } else { FIRST_ANSWER };
        async move {
            sleep(pause).await;
            match timeout(patience, published.look(seen.as_ref())).await {
                Ok(looked) => looked.map_err(|error| error.to_string()),
                Err(_) => Err("there is no answer in time".to_owned()),
            }
        }
    }

    /// Has the proxy run what is published if it is new. As long as nothing runs at all, something else is tried
    /// instead: what ran well last, or the leaders.
    async fn heed(&mut self, looked: Result<Looked, String>) {
        match looked {
            Ok(looked) => {
                if self.failures > 0 {
                    info!("what is published can be read again");
                    (self.failures, self.tally.is_unread) = (0, false);
                }
                match looked {
                    Looked::New(etag, text) => self.take(etag, &text).await,
                    Looked::Nothing => self.tally.is_refused = false,
                    Looked::Same => {}
                }
            }
            Err(why) => self.fail(&why),
        }
        if !self.is_begun {
            self.begin().await;
        }
    }

    /// Told less and less often: what runs goes on.
    fn fail(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        self.tally.is_unread = true;
        if self.failures.is_power_of_two() {
            warn!(failures = self.failures, why, "what is published cannot be read; what runs goes on");
        }
    }

    async fn begin(&mut self) {
        if let Some((name, text)) = self.supervisor.last_good() {
            match self.supervisor.apply(&name, &text).await {
                Ok(()) => {
                    self.is_begun = true;
                    return info!(revision = name, "runs what ran well last");
                }
                Err(error) => warn!(revision = name, %error, "what ran well last does not run"),
            }
        }
        let builtin = builtin::revision(&self.config);
        match self.supervisor.apply(&builtin.name(), &builtin.compose()).await {
            Ok(()) => {
                self.is_begun = true;
                info!("nothing published is known yet: the leaders serve alone");
            }
            Err(error) => error!(%error, "not ready: even the leaders alone cannot be served; it is tried again"),
        }
    }

    async fn take(&mut self, etag: Etag, text: &str) {
        let revision = match self.readable(text) {
            Ok(revision) => revision,
            Err(error) => return self.refuse(etag, &error),
        };
        let name = revision.name();
        match self.supervisor.apply(&name, text).await {
            Ok(()) => {
                info!(revision = name, reason = revision.reason, "runs");
                (self.seen, self.is_begun, self.tally.is_refused) = (Some(etag), true, false);
            }
            Err(error) if is_final(&error) => self.refuse(etag, &error.into()),
            Err(error) => {
                self.tally.is_refused = true;
                warn!(revision = name, %error, "it does not run yet; it is tried again");
            }
        }
    }

    fn readable(&self, text: &str) -> Result<Revision> {
        let revision = Revision::parse(text).context("it cannot be run")?;
        let kind = self.config.proxy.kind;
        if revision.proxy != kind {
            bail!("it is for {}, and this is {kind}", revision.proxy);
        }
        Ok(revision)
    }

    /// What was published is not run until it is replaced.
    fn refuse(&mut self, etag: Etag, error: &anyhow::Error) {
        self.refused += 1;
        self.tally.is_refused = true;
        error!(refused = self.refused, "what is published is refused, and what runs goes on: {error:#}");
        self.seen = Some(etag);
    }
}

/// Whether another try would come to the same.
fn is_final(error: &ApplyError) -> bool {
    matches!(
        error,
        ApplyError::Rejected { .. } | ApplyError::Secret { .. } | ApplyError::Unmarked(_) | ApplyError::Name(_)
    )
}

fn varied(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
}

/// The proxy's lines as they are, if they are JSON, else in one.
async fn print(mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.recv().await {
        match line.source {
            Source::Output if line.text.starts_with('{') => println!("{}", line.text),
            Source::Output => info!(line = line.text, "the proxy says"),
            Source::Error | Source::Check => warn!(line = line.text, "the proxy says"),
            Source::Supervisor => warn!("{}", line.text),
        }
    }
}
