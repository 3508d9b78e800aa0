//! What runs revisions. On one machine that is a process: starting is instant, and the proxy's checker may refuse. On AWS it
//! is a service whose tasks read the published object when they start: deployments take their time and may fail, anybody may
//! begin one, and which revision one was begun for is known from a note beside it.

use jiff::Timestamp;
use nodeweir_control::deploying::{Deployer, Deployment, LastStart, Progress};
use nodeweir_control::edges::{EdgeError, Service, ServiceState, Started, Tasks};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::Written;

use crate::edges::{Edges, Part};
use crate::sabotage::Sabotage;
use crate::trouble::Kind;
use crate::world::State;

/// The process of one machine.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) starts: u64,
    pub(crate) running: Option<String>,
    pub(crate) rejected: Option<(String, String)>,
}

/// A deployment as it truly is.
#[derive(Debug, Clone)]
pub(crate) struct Deployed {
    pub(crate) shown: Deployment,
    /// What stood in the object when its tasks read it, if that could be read.
    pub(crate) read: Option<String>,
    /// When it is through or failed, and when the service forgets that it failed; by the time that truly passed.
    ends: u64,
    will_fail: bool,
}

/// The service on AWS.
#[derive(Debug, Default)]
pub(crate) struct Deployments {
    pub(crate) known: Vec<Deployed>,
    begun: u64,
    pub(crate) note: Option<LastStart>,
    /// Counts changes of the note.
    version: u64,
    /// When a run last began a deployment, by the clock of its note; none while that says nothing about the next one.
    pub(crate) last_start: Option<Timestamp>,
    /// Whether the last start was noted over one without a name, whose run may be slow and not dead.
    pub(crate) is_contested: bool,
    /// Deployments that ended and nobody was told of yet.
    pub(crate) ended: u32,
}

/// How long the service remembers a deployment that failed, in seconds.
const REMEMBERED: u64 = 900;

impl Deployments {
    pub(crate) fn primary(&self) -> Option<&Deployed> {
        self.known.iter().find(|one| one.shown.is_primary)
    }

    pub(crate) fn under_way(&self) -> Option<&Deployed> {
        self.known.iter().find(|one| one.shown.progress == Progress::InProgress)
    }
}

impl State {
    /// Time passed: deployments end, or fail and are taken back.
    pub(crate) fn end_deployments(&mut self) {
        let elapsed = self.clock.elapsed;
        self.service.known.retain(|one| one.ends > elapsed || one.shown.progress == Progress::InProgress);
        let is_due = |one: &Deployed| one.ends <= elapsed;
        let Some(index) = self.service.known.iter().position(is_due) else { return };
        let mut one = self.service.known.remove(index);
        let (id, fails) = (one.shown.id.clone(), one.will_fail);
        self.tell(|| format!("deployment {id} {}", if fails { "fails and is taken back" } else { "is through" }));
        self.service.ended += 1;
        self.changed(None);
        if fails {
            one.shown = Deployment { is_primary: false, progress: Progress::Failed("no luck".to_owned()), ..one.shown };
            one.ends = elapsed + REMEMBERED;
            self.service.known.push(one);
            self.begin(false);
        } else {
            one.shown.progress = Progress::Completed;
            one.ends = u64::MAX;
            self.service.known.retain(|other| matches!(other.shown.progress, Progress::Failed(_)));
            self.service.known.push(one);
        }
    }

    /// A deployment begins. What runs goes on until it is through; what was under way is given up. Returns its name.
    fn begin(&mut self, may_fail: bool) -> String {
        self.service.begun += 1;
        let (id, read) = (format!("d{}", self.service.begun), self.bucket.name().cloned());
        self.tell(|| format!("deployment {id} begins, and reads {}", read.as_deref().unwrap_or("what it cannot read")));
        self.service.known.retain(|one| one.shown.progress != Progress::InProgress);
        self.service.known.iter_mut().for_each(|one| one.shown.is_primary = false);
        let ends = self.clock.elapsed + self.rng.u64(5..500);
        let will_fail = self.percent(10) && may_fail && self.is_troubled_by(Kind::Deployments);
        let shown = Deployment { id: id.clone(), is_primary: true, progress: Progress::InProgress };
        self.service.known.push(Deployed { shown, read, ends, will_fail });
        self.changed(None);
        id
    }

    /// Somebody deploys by hand, for reasons of their own.
    pub(crate) fn deploy_by_hand(&mut self) {
        self.tell(|| "operator deploys".to_owned());
        self.service.last_start = None;
        self.begin(true);
    }

    fn process_state(&mut self) -> ServiceState {
        let Process { starts, running, rejected } = &self.process;
        let (running, rejected) = (running.clone(), rejected.clone());
        ServiceState { starts: *starts, running, in_progress: false, last_start: None, rejected, tasks: None }
    }

    fn start_here(&mut self, edges: &Edges, seen: &ServiceState, revision: &Revision) -> Started {
        if self.process.starts != seen.starts && self.sabotage != Sabotage::UncountedStarts {
            return Started::Overtaken;
        }
        let name = revision.name();
        self.check_start(edges, &name);
        self.process.starts += 1;
        self.writes.deployments += 1;
        self.changed(Some(edges.run));
        if self.percent(3) && self.is_troubled_by(Kind::Deployments) {
            let why = "the checker does not like it".to_owned();
            self.tell(|| format!("{name} is rejected"));
            self.process.rejected = Some((name, why.clone()));
            return Started::Rejected(why);
        }
        self.tell(|| format!("{name} runs"));
        self.process.running = Some(name);
        Started::Yes
    }

    fn note(&mut self, edges: &Edges, seen: Option<u64>, start: &LastStart) -> Written {
        let found = self.service.note.as_ref().map(|_| self.service.version);
        if found != seen && self.sabotage != Sabotage::UncountedStarts {
            return Written::Lost;
        }
        if start.deployment.is_none() {
            self.tell(|| format!("run {} notes that it starts {}", edges.run, start.revision));
            self.check_start(edges, &start.revision);
            self.service.is_contested = self.service.note.as_ref().is_some_and(|note| note.deployment.is_none());
        }
        self.service.note = Some(start.clone());
        self.service.version += 1;
        self.changed(Some(edges.run));
        Written::Done
    }
}

impl Service for Edges {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        let state = self.call(Part::Service, "ask the process", State::process_state).await;
        state.map_err(|why| EdgeError::new("asking the process", &why))
    }

    async fn start(&self, seen: &ServiceState, revision: &Revision, _: &str) -> Result<Started, EdgeError> {
        let started = self.call(Part::Service, "start", |state| state.start_here(self, seen, revision)).await;
        started.map_err(|why| EdgeError::new("starting", &why))
    }
}

impl Deployer for Edges {
    type Version = u64;

    async fn deployments(&self) -> Result<(Vec<Deployment>, Option<Tasks>), EdgeError> {
        let shown = self.call(Part::Service, "ask for deployments", |state| {
            let hides = state.sabotage == Sabotage::HiddenDeployment;
            let show = |one: &Deployed| match &one.shown.progress {
                Progress::InProgress if hides => Deployment { progress: Progress::Unknown, ..one.shown.clone() },
                _ => one.shown.clone(),
            };
            state.service.known.iter().map(show).collect()
        });
        Ok((shown.await.map_err(|why| EdgeError::new("asking for deployments", &why))?, None))
    }

    async fn deploy(&self) -> Result<Option<String>, EdgeError> {
        let begun = self.call(Part::Service, "deploy", |state| {
            state.check_deploy(self);
            state.writes.deployments += 1;
            state.service.last_start = state.service.note.as_ref().map(|note| note.at);
            Some(state.begin(true))
        });
        begun.await.map_err(|why| EdgeError::new("deploying", &why))
    }

    async fn last_start(&self) -> Result<(Option<u64>, Option<LastStart>), EdgeError> {
        let read = self.call(Part::Store, "read the last start", |state| {
            let Deployments { note, version, .. } = &state.service;
            (note.is_some().then_some(*version), note.clone())
        });
        read.await.map_err(|why| EdgeError::new("reading the last start", &why))
    }

    async fn note_start(&self, seen: Option<&u64>, start: &LastStart) -> Result<Written, EdgeError> {
        let noted = self.call(Part::Store, "note a start", |state| state.note(self, seen.copied(), start));
        noted.await.map_err(|why| EdgeError::new("noting a start", &why))
    }

    fn now(&self) -> Timestamp {
        self.world.state().now()
    }
}
