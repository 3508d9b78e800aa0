//! What the flows need from outside, with the semantics of the hardest of each: an object store with compare-and-swap
//! and a service with a deployment in progress. On one machine they are a folder and a child process; in the
//! simulation they fail on purpose.

use jiff::Timestamp;
use nodeweir_domain::fleet::node::Node;
use nodeweir_domain::fleet::probe::Observation;
use nodeweir_domain::fleet::revision::Revision;

/// Why an edge could not do it. The next run repeats it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct EdgeError {
    /// What was to be done, to what.
    pub what: String,
    /// What stood in the way.
    pub why: String,
}

impl EdgeError {
    /// An error with its cause in words.
    pub fn new(what: impl Into<String>, why: &impl ToString) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}

/// Asks nodes.
pub trait Prober: Send + Sync {
    /// Asks one node for its head and, if `ask_chain`, for its chain id, within the configured time. Whatever happens
    /// is an observation.
    fn probe(&self, node: &Node, ask_chain: bool) -> impl Future<Output = Observation> + Send;
}

/// Which version of an object was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub String);

/// What became of an object since it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is as it was.
    Same,
    /// There is none.
    Nothing,
    /// It is another, or was never seen.
    New(Etag, String),
}

/// The published configuration: one object that can be replaced only by who knows what it holds.
pub trait PublishedObject: Send + Sync {
    /// The object's text and version; `None` if there is none.
    fn get(&self) -> impl Future<Output = Result<Option<(Etag, String)>, EdgeError>> + Send;

    /// Looks whether it is still `seen`, which is less work than to read it where the object's keeper compares.
    fn look(&self, seen: Option<&Etag>) -> impl Future<Output = Result<Looked, EdgeError>> + Send {
        async move {
            Ok(match self.get().await? {
                None => Looked::Nothing,
                Some((etag, _)) if seen == Some(&etag) => Looked::Same,
                Some((etag, text)) => Looked::New(etag, text),
            })
        }
    }

    /// Replaces the object if its version is still `seen` (`None`: there is none). `false` if it is not.
    fn put(&self, seen: Option<&Etag>, text: &str) -> impl Future<Output = Result<bool, EdgeError>> + Send;
}

/// What a service runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceState {
    /// Counts deployments; a start names the count it has seen, so that of two runs only one starts.
    pub starts: u64,
    /// The name of the revision that runs.
    pub running: Option<String>,
    /// Whether a deployment is under way; a second one is never started beside it.
    pub in_progress: bool,
    /// When the last deployment began, where deployments are kept apart in time.
    pub last_start: Option<Timestamp>,
    /// The name of a revision that could not be run, and why.
    pub rejected: Option<(String, String)>,
    /// How many processes run it, where they are counted.
    pub tasks: Option<Tasks>,
}

/// Processes of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// Those that run.
    pub running: u32,
    /// Those that there should be.
    pub wanted: u32,
}

/// What became of starting a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs, or is on its way.
    Yes,
    /// Another run started something since the state was read.
    Overtaken,
    /// The proxy's own checker refuses it; what ran before runs on.
    Rejected(String),
}

/// Runs revisions.
pub trait Service: Send + Sync {
    /// What it runs now.
    fn state(&self) -> impl Future<Output = Result<ServiceState, EdgeError>> + Send;

    /// Runs `revision`, whose published text is `text`, if nothing was started since `seen` was read.
    fn start(
        &self,
        seen: &ServiceState,
        revision: &Revision,
        text: &str,
    ) -> impl Future<Output = Result<Started, EdgeError>> + Send;
}
