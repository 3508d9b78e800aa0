//! What runs the published revision on one machine: a child proxy that is reloaded in place, or somebody else's.

use nodeweir_control::edges::{EdgeError, Service, ServiceState, Started};
use nodeweir_control::proxy::{ApplyError, Exited, FileError, StartError, Supervisor, revision_in};
use nodeweir_domain::fleet::revision::Revision;
use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Who has the proxy.
pub(super) enum Runner {
    /// This process.
    Here(Box<LocalService>),
    /// A `nodeweir-proxy`, which follows what is published by itself, in this folder.
    Elsewhere(PathBuf),
}

impl Runner {
    /// The one of this process.
    pub(super) fn here(&self) -> Option<&LocalService> {
        match self {
            Self::Here(service) => Some(service),
            Self::Elsewhere(_) => None,
        }
    }

    /// Waits until the proxy of this process ends unasked, and says how to start it again. May be abandoned and called
    /// again.
    pub(super) async fn exited(&self) -> (Exited, &LocalService) {
        match self {
            Self::Here(service) => (service.exited().await, service),
            Self::Elsewhere(_) => pending().await,
        }
    }

    /// What runs.
    pub(super) async fn state(&self) -> ServiceState {
        match self {
            Self::Here(service) => service.state().await.unwrap_or_default(),
            Self::Elsewhere(folder) => ServiceState { running: revision_in(folder).await, ..ServiceState::default() },
        }
    }
}

/// Runs revisions in a supervised proxy.
pub(super) struct LocalService {
    supervisor: Mutex<Supervisor>,
    /// The last revision that the checker refused, and what it said: asking again would get the same answer.
    rejected: Mutex<Option<(String, String)>>,
    starts: AtomicU64,
}

impl LocalService {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor: Mutex::new(supervisor), rejected: Mutex::new(None), starts: AtomicU64::new(0) }
    }

    /// Starts what ran well last, so that the address answers before anything else is known. Says what it runs.
    pub(super) async fn start_last_good(&self) -> Option<Result<String, ApplyError>> {
        let mut supervisor = self.supervisor.lock().await;
        let (name, text) = supervisor.last_good()?;
        let applied = supervisor.apply(&name, &text).await;
        Some(applied.map(|()| name))
    }

    /// Waits until the proxy ends unasked. May be abandoned and called again.
    pub(super) async fn exited(&self) -> Exited {
        self.supervisor.lock().await.exited().await
    }

    /// How long to wait before it is started again, longer with each time in a row.
    pub(super) async fn pause(&self) -> Duration {
        self.supervisor.lock().await.pause()
    }

    /// Starts it again, unless it runs.
    pub(super) async fn restart(&self) -> Result<(), StartError> {
        self.supervisor.lock().await.restart().await
    }

    /// What must be done now and then while it runs.
    pub(super) async fn upkeep(&self) -> Result<(), FileError> {
        self.supervisor.lock().await.upkeep()
    }

    /// Whether `/readyz` says that the gate is away.
    pub(super) async fn set_refusing(&self, is_refusing: bool) -> Result<(), FileError> {
        self.supervisor.lock().await.set_refusing(is_refusing)
    }

    /// The supervisor, to stop it.
    pub(super) fn into_supervisor(self) -> Supervisor {
        self.supervisor.into_inner()
    }
}

impl Service for LocalService {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        let running = self.supervisor.lock().await.running().await;
        let rejected = self.rejected.lock().await.clone();
        let starts = self.starts.load(Ordering::Acquire);
        Ok(ServiceState { starts, running, in_progress: false, last_start: None, rejected, tasks: None })
    }

    async fn start(&self, seen: &ServiceState, revision: &Revision, text: &str) -> Result<Started, EdgeError> {
        let claimed = self.starts.compare_exchange(seen.starts, seen.starts + 1, Ordering::AcqRel, Ordering::Acquire);
        if claimed.is_err() {
            return Ok(Started::Overtaken);
        }
        let name = revision.name();
        let applied = self.supervisor.lock().await.apply(&name, text).await;
        match applied {
            Ok(()) => {
                *self.rejected.lock().await = None;
                Ok(Started::Yes)
            }
            Err(
                error @ (ApplyError::Rejected { .. }
                | ApplyError::Secret { .. }
                | ApplyError::Unmarked(_)
                | ApplyError::Name(_)),
            ) => {
                let why = error.to_string();
                *self.rejected.lock().await = Some((name, why.clone()));
                Ok(Started::Rejected(why))
            }
            Err(error) => Err(EdgeError::new(format!("running revision {name}"), &error)),
        }
    }
}
