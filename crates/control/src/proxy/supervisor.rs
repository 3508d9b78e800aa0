//! Keeps one proxy running with the revision it was given last.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nodeweir_domain::config::{Proxy, ProxyKind};
use nodeweir_domain::fleet::node::{SecretName, resolve};
use nodeweir_domain::fleet::render::REVISION;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::error::{ApplyError, StartError};
use super::folder::{FileError, Folder, FolderError};
use super::host::{Account, Machine};
use super::lines::{Line, Sink, Source};
use super::lua::Lua;
use super::process::Record;
use super::program::Program;
use super::redact::Redactor;
use super::takeover::{LOOK, clear_the_way};
use super::usage::UsageLog;
use super::{admin, last_good, launch};

/// For the checker. It resolves names that a revision gives as fixed addresses, so DNS may delay it.
const TO_CHECK: Duration = Duration::from_secs(30);
/// For a started or reloaded proxy to answer with its revision.
pub(super) const TO_ANSWER: Duration = Duration::from_secs(10);
/// Answers in a row that prove a reload. nginx lets its old workers go 100 ms after the new ones were started, and
/// both answer meanwhile.
const STEADY: u32 = 8;

/// Stands in a revision that writes down what was used.
const METERED: &str = "access_log usage/";
const LUA_HINT: &str = "\nThe gate needs nginx with Lua, and this nginx has none: install libnginx-mod-http-lua (Debian, Ubuntu) or \
     your system's ngx_http_lua_module, or run scripts/up, which prepares one; or switch the gate off.";

/// Values of secrets.
type Secrets = Box<dyn Fn(&SecretName) -> Option<String> + Send + Sync>;

/// What the supervisor itself must know of a proxy's settings; the rest stands in the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect: it must be free before a start.
    pub listen: SocketAddr,
    /// How long `/readyz` says 503 before a stop begins.
    pub drain: Duration,
    /// How long requests in flight may go on after a reload or stop. The revision bounds them; the supervisor helps
    /// a little later if that was not enough.
    pub shutdown: Duration,
}

impl From<&Proxy> for Settings {
    fn from(proxy: &Proxy) -> Self {
        Self { listen: proxy.listen, drain: proxy.timeouts.drain, shutdown: proxy.timeouts.shutdown }
    }
}

/// One proxy in one folder.
///
/// Dropping it leaves the proxy running, as a killed supervisor does: it goes on serving, and the next supervisor of
/// the folder replaces it. [`Self::stop`] ends it. Every method may be abandoned half-way (its future dropped) and
/// called again.
pub struct Supervisor {
    /// May be changed between calls, when the configuration changed.
    pub settings: Settings,
    pub(super) program: Program,
    pub(super) folder: Folder,
    pub(super) sink: Sink,
    secrets: Secrets,
    pub(super) child: Option<Child>,
    /// Name of the revision in the live file.
    pub(super) current: Option<String>,
    /// The machine's files changed since the proxy read them.
    host_changed: bool,
    /// Whom workers run as, if not as this process.
    pub(super) workers: Option<Account>,
    pub(super) usage: UsageLog,
    /// Whether the live revision writes down what was used.
    pub(super) is_metered: bool,
    /// What runs, if it could not be kept for the next start yet.
    pub(super) unkept: Option<Vec<u8>>,
    /// Ends in a row, and when the last start was.
    pub(super) failures: u32,
    pub(super) started: Option<Instant>,
}

impl Supervisor {
    /// Takes `folder`, which is made if need be, for a proxy run by `program`; starts nothing yet.
    ///
    /// `secrets` gives the value of a secret, or nothing. `lines` gets what the proxy prints, redacted; when it is
    /// full, lines are dropped and counted.
    pub fn new(
        program: Program,
        folder: impl Into<PathBuf>,
        settings: Settings,
        secrets: impl Fn(&SecretName) -> Option<String> + Send + Sync + 'static,
        lines: mpsc::Sender<Line>,
    ) -> Result<Self, FolderError> {
        let folder = Folder::open(&folder.into(), program.kind)?;
        let usage = UsageLog::new(&folder.path);
        Ok(Self {
            settings,
            program,
            folder,
            sink: Sink::new(Redactor::default(), lines),
            secrets: Box::new(secrets),
            child: None,
            current: None,
            host_changed: false,
            workers: None,
            usage,
            is_metered: false,
            unkept: None,
            failures: 0,
            started: None,
        })
    }

    /// Takes the same out of other text that is taken out of the proxy's lines.
    pub fn redactor(&self) -> &Redactor {
        self.sink.redactor()
    }

    /// Makes the proxy run `text`, the whole text of the revision called `name`.
    ///
    /// It is checked by the proxy's own checker, made live in one step, and started or reloaded; done when the proxy
    /// itself answers with `name`, and with nothing else any more. On an error the earlier revision is live again,
    /// and runs if it can. Applying what runs already does nothing.
    pub async fn apply(&mut self, name: &str, text: &str) -> Result<(), ApplyError> {
        let body = self.materialise(name, text)?;
        self.is_metered |= self.program.kind == ProxyKind::Nginx && body.contains(METERED);
        self.look_around()?;
        let same = !self.host_changed && self.is_alive() && self.folder.live_is(&body);
        if same && self.running().await.as_deref() == Some(name) {
            return Ok(());
        }
        self.folder.write_candidate(&body)?;
        if let Err(error) = self.check(name).await {
            self.folder.forget_candidate()?;
            return Err(error);
        }
        self.folder.swap()?;
        if let Err(source) = self.run(name).await {
            self.folder.swap_back()?;
            self.go_back().await;
            return Err(ApplyError::NotRunning { name: name.to_owned(), source });
        }
        self.current = Some(name.to_owned());
        self.host_changed = false;
        self.folder.forget_previous()?;
        self.keep(last_good::encode(name, text));
        Ok(())
    }

    /// For the next start. What runs is no less right if that cannot be, as on a full disk; [`Self::upkeep`] tries again.
    fn keep(&mut self, bytes: Vec<u8>) {
        let kept = self.folder.write_last_good(&bytes);
        self.unkept = kept.is_err().then_some(bytes);
        if let Err(error) = kept {
            self.tell(&format!("what runs cannot be kept for the next start, and this is tried again: {error}"));
        }
    }

    /// Which revision really runs: the proxy is asked. It may be one that an earlier supervisor left.
    pub async fn running(&self) -> Option<String> {
        admin::revision(&self.folder).await
    }

    /// Name and text of the last revision that was applied, here or by an earlier supervisor of this folder. None if
    /// there is none, or if the file is damaged.
    pub fn last_good(&self) -> Option<(String, String)> {
        last_good::decode(&self.folder.read_last_good()?)
    }

    /// The process id of the proxy's master while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Puts in what the text leaves open, and makes sure that no log will show it.
    fn materialise(&self, name: &str, text: &str) -> Result<String, ApplyError> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(safe) {
            return Err(ApplyError::Name(self.redactor().line(name)));
        }
        if !text.contains(REVISION) {
            return Err(ApplyError::Unmarked(name.to_owned()));
        }
        resolve(&text.replace(REVISION, name), |secret| {
            let value = (self.secrets)(secret)?;
            self.redactor().learn(&value);
            Some(value)
        })
        .map_err(|source| ApplyError::Secret { name: name.to_owned(), source })
    }

    async fn check(&self, name: &str) -> Result<(), ApplyError> {
        let kind = self.program.kind;
        let unchecked = |source| ApplyError::Unchecked { kind, name: name.to_owned(), source };
        let mut command = Command::from(launch::check(&self.program, &self.folder));
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        let checked = timeout(TO_CHECK, command.output()).await;
        let output = checked.map_err(io::Error::from).flatten().map_err(unchecked)?;
        let said = [output.stdout, output.stderr].concat();
        if output.status.success() {
            for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.sink.line(Source::Check, line);
            }
            return Ok(());
        }
        let mut output = self.redactor().text(&String::from_utf8_lossy(&said));
        if self.program.lua == Lua::Missing && output.contains("_by_lua_block") {
            output.push_str(LUA_HINT);
        }
        Err(ApplyError::Rejected { kind, name: name.to_owned(), output })
    }

    /// Whether `/readyz` says 503 because the gate is away. HAProxy has no gate, and ignores it.
    pub fn set_refusing(&self, is_refusing: bool) -> Result<(), FileError> {
        self.folder.set_refusing(is_refusing)
    }

    /// Whether the proxy runs. An end that was not seen before is left for [`Self::exited`].
    pub(super) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts the live file. The proxy is a process group of its own: an interrupt typed at the terminal is for us,
    /// and we may die without it.
    pub(super) async fn start(&mut self, name: &str) -> Result<(), StartError> {
        clear_the_way(&self.folder, self.settings.listen, self.settings.shutdown, &self.sink).await?;
        self.folder.set_draining(false)?;
        self.sink.forget();
        self.started = Some(Instant::now());
        let child = self.spawn().await.map_err(|source| StartError::Spawn { kind: self.program.kind, source })?;
        let record = child.id().and_then(|pid| Record::of(pid.cast_signed()));
        self.child = Some(child);
        // Only a later supervisor needs it, and only where it may not see in which folder a process works.
        if let Err(error) = self.folder.write_record(record.as_ref()) {
            self.tell(&format!("the proxy runs, but it cannot be written down which process it is: {error}"));
        }
        let outcome = self.await_revision(name, 1).await;
        if outcome.is_err() {
            self.end_child(Signal::TERM, super::takeover::TO_OBEY).await;
        }
        outcome
    }

    async fn spawn(&self) -> io::Result<Child> {
        let mut tries = 0;
        loop {
            let mut command = Command::from(launch::serve(&self.program, &self.folder));
            command.stdin(Stdio::null()).process_group(0).kill_on_drop(false);
            command.stdout(self.sink.pipe(Source::Output)?).stderr(self.sink.pipe(Source::Error)?);
            match command.spawn() {
                // Another thread that starts a process at this moment may hold the script we just wrote.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 10 => {
                    tries += 1;
                    sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    async fn reload(&mut self, name: &str) -> Result<(), StartError> {
        self.sink.forget();
        self.signal(launch::reload_signal(self.program.kind));
        self.await_revision(name, STEADY).await
    }

    /// Reloads if it runs, starts if not. A reload may find that it has just died.
    async fn run(&mut self, name: &str) -> Result<(), StartError> {
        if self.is_alive() {
            match self.reload(name).await {
                Err(StartError::Died { .. }) => {}
                other => return other,
            }
        }
        self.start(name).await
    }

    /// After a failure: the proxy may yet take the new file, or wait for a better one, or be dead; it gets the
    /// earlier one again. If that fails too, [`Self::exited`] tells.
    async fn go_back(&mut self) {
        if let Some(earlier) = self.current.clone() {
            let _ = self.run(&earlier).await;
        }
    }

    /// Writes down anew what the machine adds.
    pub(super) fn look_around(&mut self) -> Result<(), FileError> {
        let machine = Machine::look(&self.program)?;
        self.host_changed |= self.folder.write_host(&self.program, &machine)?;
        self.workers = machine.account;
        if self.is_metered {
            self.usage.prepare(self.workers.as_ref())?;
        }
        Ok(())
    }

    /// Waits until the proxy answers with `name`, `times` times in a row.
    async fn await_revision(&mut self, name: &str, times: u32) -> Result<(), StartError> {
        let kind = self.program.kind;
        let deadline = Instant::now() + TO_ANSWER;
        let mut in_a_row = 0;
        loop {
            let running = self.running().await;
            in_a_row = if running.as_deref() == Some(name) { in_a_row + 1 } else { 0 };
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(StartError::Died { kind, how: how(status), output: self.sink.last_words().await });
            }
            if in_a_row == times {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = TO_ANSWER.as_secs();
                return Err(StartError::Silent { kind, running, seconds, output: self.sink.tail() });
            }
            sleep(LOOK).await;
        }
    }

    /// Among the proxy's lines.
    pub(super) fn tell(&self, what: &str) {
        self.sink.line(Source::Supervisor, what.as_bytes());
    }

    pub(super) fn signal(&self, signal: Signal) {
        // The id is only known while the process was not collected, so it cannot be somebody else's by now.
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// "exit code 1" or "signal 9".
pub(super) fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no reason known".to_owned(),
    }
}
