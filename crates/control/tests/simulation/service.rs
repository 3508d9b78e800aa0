//! The service whose tasks run revisions: deployments take their time, one at a time, and may fail. On one machine
//! starting is instant instead, and the proxy's checker may refuse.

use jiff::Timestamp;
use nodeweir_control::edges::{EdgeError, Service, ServiceState, Started};
use nodeweir_domain::fleet::revision::Revision;

use crate::edges::{Edges, Part};
use crate::sabotage::Sabotage;
use crate::world::State;

/// A deployment under way.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) name: String,
    /// By the time that truly passed.
    pub(crate) ends: u64,
    pub(crate) fails: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Deployments {
    pub(crate) starts: u64,
    pub(crate) running: Option<String>,
    pub(crate) under_way: Option<Deployment>,
    pub(crate) last_start: Option<Timestamp>,
    pub(crate) rejected: Option<(String, String)>,
    /// Deployments that ended and nobody was told of yet.
    pub(crate) ended: u32,
}

impl State {
    pub(crate) fn end_deployment(&mut self) {
        let elapsed = self.clock.elapsed;
        if let Some(ended) = self.service.under_way.take_if(|deployment| deployment.ends <= elapsed) {
            self.tell(|| format!("the deployment of {} {}", ended.name, if ended.fails { "fails" } else { "ends" }));
            self.service.ended += 1;
            self.changed(None);
            if !ended.fails {
                self.service.running = Some(ended.name);
            }
        }
    }

    fn service_state(&mut self) -> ServiceState {
        let is_hidden = self.sabotage == Sabotage::HiddenDeployment;
        ServiceState {
            starts: self.service.starts,
            running: self.service.running.clone(),
            in_progress: self.service.under_way.is_some() && !is_hidden,
            last_start: self.service.last_start.filter(|_| !is_hidden),
            rejected: self.service.rejected.clone(),
            tasks: None,
        }
    }

    fn start(&mut self, edges: &Edges, seen: &ServiceState, revision: &Revision) -> Started {
        if self.service.starts != seen.starts && self.sabotage != Sabotage::UncountedStarts {
            return Started::Overtaken;
        }
        let name = revision.name();
        self.check_start(edges, revision);
        self.service.starts += 1;
        self.writes.deployments += 1;
        self.changed(Some(edges.run));
        if self.settings.is_local {
            if self.trouble.is_on && self.percent(3) {
                let why = "the checker does not like it".to_owned();
                self.tell(|| format!("{name} is rejected"));
                self.service.rejected = Some((name, why.clone()));
                return Started::Rejected(why);
            }
            self.tell(|| format!("{name} runs"));
            self.service.running = Some(name);
            return Started::Yes;
        }
        let ends = self.clock.elapsed + self.rng.u64(5..500);
        let fails = self.trouble.is_on && self.percent(10);
        self.tell(|| format!("a deployment of {name} begins"));
        self.service.last_start = Some(self.now());
        self.service.under_way = Some(Deployment { name, ends, fails });
        Started::Yes
    }
}

impl Service for Edges {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        let state = self.call(Part::Service, "ask the service", State::service_state).await;
        state.map_err(|why| EdgeError::new("asking the service", &why))
    }

    async fn start(&self, seen: &ServiceState, revision: &Revision, _: &str) -> Result<Started, EdgeError> {
        let started = self.call(Part::Service, "start", |state| state.start(self, seen, revision)).await;
        started.map_err(|why| EdgeError::new("starting a deployment", &why))
    }
}
