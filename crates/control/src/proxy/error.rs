//! Why a revision does not run.

use std::net::SocketAddr;

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::node::BadSecret;
use nodeweir_domain::fleet::render::REVISION;

use super::folder::FileError;

/// Why a revision was not applied. Whatever ran before goes on running, except after [`StartError`], when nothing
/// ran or it had died.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The name cannot be put into a configuration file.
    #[error("{0:?} cannot name a revision: 1 to 64 of letters, digits and . _ - are expected")]
    Name(String),
    /// Nobody could tell whether it runs.
    #[error("revision {0} cannot be run: its text has no {REVISION}, which GET /revision on sock/admin.sock answers")]
    Unmarked(String),
    /// A secret is missing or cannot be used.
    #[error("revision {name} cannot be run: {source}")]
    Secret {
        /// The revision.
        name: String,
        /// Which, and what to do.
        source: BadSecret,
    },
    /// The proxy's own checker says no.
    #[error("{kind} does not accept revision {name}, so nothing was changed; it says:\n{output}")]
    Rejected {
        /// The proxy.
        kind: ProxyKind,
        /// The revision.
        name: String,
        /// The checker's words, redacted.
        output: String,
    },
    /// The checker did not run, or did not end.
    #[error("{kind} could not be asked whether revision {name} is good: {source}")]
    Unchecked {
        /// The proxy.
        kind: ProxyKind,
        /// The revision.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The checker accepted it, but it does not run.
    #[error("revision {name} was accepted but does not run: {source}")]
    NotRunning {
        /// The revision.
        name: String,
        /// Why.
        source: StartError,
    },
    /// A file of the folder.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a proxy does not run what it should.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No revision was ever applied.
    #[error("there is no revision to run yet")]
    Nothing,
    /// Somebody else listens there.
    #[error(
        "another program listens on {0}; find it with `ss -ltnp`, and stop it or change `proxy.listen` in the \
         configuration"
    )]
    Taken(SocketAddr),
    /// The program could not be run.
    #[error("{kind} cannot be started: {source}")]
    Spawn {
        /// The proxy.
        kind: ProxyKind,
        /// Why.
        source: std::io::Error,
    },
    /// It ended at once.
    #[error("{kind} ended at once ({how}); it says:\n{output}")]
    Died {
        /// The proxy.
        kind: ProxyKind,
        /// Exit code or signal.
        how: String,
        /// Its last words, redacted.
        output: String,
    },
    /// It runs, but not with this revision.
    #[error("{kind} runs {} after {seconds} s; it says:\n{output}", .running.as_deref().unwrap_or("no known revision"))]
    Silent {
        /// The proxy.
        kind: ProxyKind,
        /// What it answers on its admin socket.
        running: Option<String>,
        /// How long it was asked.
        seconds: u64,
        /// Its last words, redacted.
        output: String,
    },
    /// A file of the folder.
    #[error(transparent)]
    File(#[from] FileError),
}
