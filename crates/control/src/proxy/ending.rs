//! The ends of a proxy: those that nobody wanted, with a restart, and the one that was asked for.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;
use tokio::time::timeout;
use tracing::{error, info};

use super::admin;
use super::error::StartError;
use super::folder::FileError;
use super::process::quit_signal;
use super::supervisor::{Supervisor, how};
use super::takeover::{TO_OBEY, sweep};

/// A proxy that ran this long was well; the next restart is immediate again.
const WELL: Duration = Duration::from_secs(60);
/// The longest wait before a restart.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A proxy does not run though it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// Which proxy.
    pub kind: ProxyKind,
    /// How; nothing if it could not be started.
    pub status: Option<ExitStatus>,
    /// What it printed last to its error log, redacted.
    pub output: String,
}

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} ended unasked ({})", self.kind, how(status))?,
            None => write!(f, "{} does not run", self.kind)?,
        }
        if self.output.is_empty() { Ok(()) } else { write!(f, "; it says:\n{}", self.output) }
    }
}

/// How a proxy was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// None ran.
    NotRunning,
    /// Every request in flight was finished, or bounded by the revision.
    Gracefully,
    /// It had to be terminated after the shutdown timeout.
    Terminated,
    /// It had to be killed.
    Killed,
}

impl Supervisor {
    /// Resolves when the proxy does not run though it should: it ended without being asked to, or could not be
    /// started again. Before the first successful [`Self::apply`] and after a stop it never resolves. The answer is
    /// [`Self::restart`] after [`Self::pause`], whatever that returns: this resolves at once if it failed.
    pub async fn exited(&mut self) -> Exited {
        let status = match &mut self.child {
            Some(child) => child.wait().await.ok(),
            None if self.current.is_some() => None,
            None => std::future::pending().await,
        };
        let output = self.sink.last_words().await;
        // Only now: whoever abandons the wait for the words and calls again must get the same status.
        self.child = None;
        Exited { kind: self.program.kind, status, output }
    }

    /// How long to wait before the next [`Self::restart`]: not at all the first time, then 1, 2, 4 … 30 s, until the
    /// proxy has run well for a minute. Each call counts as one more end.
    pub fn pause(&mut self) -> Duration {
        if self.started.is_some_and(|started| started.elapsed() >= WELL) {
            self.failures = 0;
        }
        let wait = wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Starts the live revision again. Does nothing if it runs, because a new revision started it meanwhile.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        let Some(name) = self.current.clone() else { return Err(StartError::Nothing) };
        if self.is_alive() {
            return Ok(());
        }
        self.look_around()?;
        self.start(&name).await
    }

    /// Stops the proxy: `/readyz` says 503 for the drain time, then no new connections, then an end when the
    /// requests in flight are done, at most after the shutdown timeout. Nothing of it is left afterwards, neither
    /// processes nor files with secrets.
    ///
    /// To make a stop under way end at once, drop its future and call [`Self::stop_now`].
    pub async fn stop(&mut self) -> Result<Stopped, FileError> {
        let mut stopped = Stopped::NotRunning;
        if self.child.is_some() {
            self.drain().await;
            stopped = self.end_child(quit_signal(self.program.kind), self.settings.shutdown + TO_OBEY).await;
        }
        self.tidy().await?;
        Ok(stopped)
    }

    /// Stops the proxy, and as soon as somebody is in a `hurry` at once. What came of it is logged.
    pub async fn stop_or_hurry(&mut self, hurry: impl Future<Output = ()>) {
        let stopped = tokio::select! {
            stopped = self.stop() => stopped,
            () = hurry => self.stop_now().await,
        };
        match stopped {
            Ok(stopped) => info!(how = ?stopped, "the proxy has stopped"),
            Err(error) => error!(%error, "the proxy was not stopped in order"),
        }
    }

    /// Stops the proxy without waiting for requests in flight.
    pub async fn stop_now(&mut self) -> Result<Stopped, FileError> {
        let stopped = match self.child {
            Some(_) => self.end_child(Signal::TERM, TO_OBEY).await,
            None => Stopped::NotRunning,
        };
        self.tidy().await?;
        Ok(stopped)
    }

    /// A stop that cannot be announced, as on a full disk, is a stop nevertheless.
    async fn drain(&mut self) {
        let mut announced = self.folder.set_draining(true).map_err(|error| error.to_string());
        if self.program.kind == ProxyKind::Haproxy {
            announced = admin::drain_haproxy(&self.folder).await.map_err(|error| error.to_string());
        }
        if let Err(why) = announced {
            self.tell(&format!("/readyz cannot be made to say 503 before the stop: {why}"));
        }
        if let Some(child) = &mut self.child {
            // An end meanwhile is what was wanted.
            let _ = timeout(self.settings.drain, child.wait()).await;
        }
    }

    /// Sends `first` and waits, then harder signals.
    pub(super) async fn end_child(&mut self, first: Signal, patience: Duration) -> Stopped {
        let steps = [
            (first, patience, if first == Signal::TERM { Stopped::Terminated } else { Stopped::Gracefully }),
            (Signal::TERM, TO_OBEY, Stopped::Terminated),
            (Signal::KILL, TO_OBEY, Stopped::Killed),
        ];
        for (signal, patience, stopped) in steps {
            self.signal(signal);
            let Some(child) = &mut self.child else { return Stopped::NotRunning };
            if timeout(patience, child.wait()).await.is_ok() {
                self.child = None;
                return stopped;
            }
        }
        self.child = None;
        Stopped::Killed
    }

    async fn tidy(&mut self) -> Result<(), FileError> {
        sweep(&self.folder).await;
        self.current = None;
        self.folder.remove_sockets()?;
        self.folder.write_record(None)?;
        self.usage.close()?;
        self.folder.forget_secrets()?;
        self.folder.set_draining(false)
    }
}

/// Before the next restart, after so many in a row.
fn wait(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(5)).min(MAX_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_come_slower_and_slower() {
        let seconds: Vec<u64> = (0..9).map(|n| wait(n).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
