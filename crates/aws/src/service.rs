//! The ECS service whose tasks run what is published.
//!
//! A new deployment's tasks read the newest revision when they start. Which revision a deployment was started for is
//! written down in `history`, in one row that counts the starts: of two runs that saw the same count only one starts.

use aws_config::SdkConfig;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState};
use jiff::Timestamp;
use nodeweir_control::edges::{EdgeError, Service, ServiceState, Started, Tasks};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::Written;
use serde::{Deserialize, Serialize};

use crate::connect::why;
use crate::packed::pack;
use crate::store::{DynamoStore, Row, read, to_text};

/// The status of the deployment that ECS works towards.
const PRIMARY: &str = "PRIMARY";

/// The last start of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastStart {
    /// Counts starts.
    starts: u64,
    /// The revision's name.
    revision: String,
    /// When it was to start.
    at: Timestamp,
    /// ECS's name for the deployment; none until it is known, or for ever if the run that started it died.
    deployment: Option<String>,
}

/// The service on ECS.
#[derive(Debug, Clone)]
pub struct EcsService {
    client: Client,
    cluster: String,
    service: String,
    store: DynamoStore,
}

/// Of one deployment, what decides.
struct Seen {
    id: String,
    is_primary: bool,
    rollout: Option<DeploymentRolloutState>,
    why: String,
    created: Option<Timestamp>,
}

impl Seen {
    fn of(deployment: &Deployment) -> Self {
        let created = deployment.created_at().and_then(|at| Timestamp::from_nanosecond(at.as_nanos()).ok());
        Self {
            id: deployment.id().unwrap_or_default().to_owned(),
            is_primary: deployment.status() == Some(PRIMARY),
            rollout: deployment.rollout_state().cloned(),
            why: deployment.rollout_state_reason().unwrap_or("ECS gives no reason").to_owned(),
            created,
        }
    }
}

impl EcsService {
    /// The service of this name in this cluster; its last start is written down in `store`.
    pub fn new(sdk: &SdkConfig, cluster: String, service: String, store: DynamoStore) -> Self {
        Self { client: Client::new(sdk), cluster, service, store }
    }

    fn error(&self, verb: &str, error: &impl ToString) -> EdgeError {
        EdgeError::new(format!("{verb} service {} of ECS cluster {}", self.service, self.cluster), error)
    }

    async fn deployments(&self) -> Result<(Vec<Seen>, Tasks), EdgeError> {
        let asked = self.client.describe_services().cluster(&self.cluster).services(&self.service).send().await;
        let told = asked.map_err(|error| self.error("asking for", &why(&error)))?;
        let Some(service) = told.services().iter().find(|service| service.status() == Some("ACTIVE")) else {
            return Err(self.error("asking for", &"there is no such service, or it is being removed"));
        };
        let [running, wanted] = [service.running_count(), service.desired_count()];
        let [running, wanted] = [running, wanted].map(|count| u32::try_from(count).unwrap_or_default());
        Ok((service.deployments().iter().map(Seen::of).collect(), Tasks { running, wanted }))
    }

    async fn last_start(&self) -> Result<(Option<Row>, Option<LastStart>), EdgeError> {
        let row = self.store.get(self.store.deployment()).await;
        let row = row.map_err(|error| self.error("reading the last start of", &error))?;
        let start = row.as_ref().and_then(read);
        Ok((row, start))
    }

    async fn note(&self, before: Option<&Row>, start: &LastStart) -> Result<Written, EdgeError> {
        let place = self.store.deployment();
        let written = self.store.swap(place, before, Some(place.row(pack(&to_text(start))))).await;
        written.map_err(|error| self.error("noting the start of", &error))
    }
}

/// What the deployments and the last start come to.
fn judge(deployments: &[Seen], start: Option<&LastStart>) -> ServiceState {
    let in_progress = deployments.iter().any(|one| one.rollout == Some(DeploymentRolloutState::InProgress));
    let Some(start) = start else { return ServiceState { in_progress, ..ServiceState::default() } };
    let primary = deployments.iter().find(|one| one.is_primary);
    let mine = match &start.deployment {
        Some(id) => deployments.iter().find(|one| one.id == *id),
        // The run that started it died before it could note the name: whatever began since then read this revision or a
        // newer one.
        None => primary.filter(|one| one.created.is_some_and(|created| created >= start.at)),
    };
    let failed = mine.filter(|one| one.rollout == Some(DeploymentRolloutState::Failed));
    let runs = mine.is_some_and(|one| one.is_primary && one.rollout == Some(DeploymentRolloutState::Completed));
    ServiceState {
        starts: start.starts,
        running: runs.then(|| start.revision.clone()),
        in_progress,
        // A start that came to nothing holds no other up.
        last_start: (start.deployment.is_some() || mine.is_some()).then_some(start.at),
        // For as long as ECS remembers it; then it is tried again.
        rejected: failed.map(|one| (start.revision.clone(), format!("deployment {} failed: {}", one.id, one.why))),
        tasks: None,
    }
}

impl Service for EcsService {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        // Before the deployments: one that is noted after this makes the next start here overtaken.
        let (_, start) = self.last_start().await?;
        let (deployments, tasks) = self.deployments().await?;
        Ok(ServiceState { tasks: Some(tasks), ..judge(&deployments, start.as_ref()) })
    }

    async fn start(&self, seen: &ServiceState, revision: &Revision, _: &str) -> Result<Started, EdgeError> {
        let (before, last) = self.last_start().await?;
        if last.map_or(0, |last| last.starts) != seen.starts {
            return Ok(Started::Overtaken);
        }
        let starts = seen.starts.saturating_add(1);
        let start = LastStart { starts, revision: revision.name(), at: Timestamp::now(), deployment: None };
        if self.note(before.as_ref(), &start).await? == Written::Lost {
            return Ok(Started::Overtaken);
        }
        let update = self.client.update_service().cluster(&self.cluster).service(&self.service);
        let updated = update.force_new_deployment(true).send().await;
        let updated = updated.map_err(|error| self.error("starting a deployment of", &why(&error)))?;
        let deployments = updated.service().map_or(&[][..], |service| service.deployments());
        let primary = deployments.iter().find(|deployment| deployment.status() == Some(PRIMARY));
        if let Some(id) = primary.and_then(Deployment::id) {
            let (before, noted) = self.last_start().await?;
            if noted.as_ref() == Some(&start) {
                // Lost: another run started something newer, and its note is the one to keep.
                let _ = self.note(before.as_ref(), &LastStart { deployment: Some(id.to_owned()), ..start }).await?;
            }
        }
        Ok(Started::Yes)
    }
}

#[cfg(test)]
mod tests {
    use DeploymentRolloutState::{Completed, Failed, InProgress};

    use super::*;

    const THEN: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn one(id: &str, is_primary: bool, rollout: DeploymentRolloutState, created: i64) -> Seen {
        let created = Timestamp::from_second(THEN.as_second() + created).ok();
        Seen { id: id.to_owned(), is_primary, rollout: Some(rollout), why: "tasks failed to start".to_owned(), created }
    }

    fn start(deployment: Option<&str>) -> LastStart {
        let deployment = deployment.map(str::to_owned);
        LastStart { starts: 3, revision: "7-abc".to_owned(), at: THEN, deployment }
    }

    #[test]
    fn what_runs_is_what_the_completed_deployment_was_started_for() {
        let state = judge(&[one("a", true, Completed, 1)], Some(&start(Some("a"))));
        assert_eq!((state.running.as_deref(), state.starts, state.in_progress), (Some("7-abc"), 3, false));
        assert_eq!(state.last_start, Some(THEN));
        for others in [vec![], vec![one("b", true, Completed, 9)]] {
            assert_eq!(judge(&others, Some(&start(Some("a")))).running, None, "it was replaced");
        }
    }

    #[test]
    fn a_deployment_on_its_way_is_in_progress_whoever_started_it() {
        let both = [one("b", true, InProgress, 9), one("a", false, Completed, 1)];
        for last in [None, Some(start(Some("a"))), Some(start(Some("b")))] {
            let state = judge(&both, last.as_ref());
            assert!(state.in_progress && state.running.is_none(), "{state:?}");
        }
    }

    #[test]
    fn one_that_failed_is_rejected_with_its_reason() {
        let both = [one("a", true, Completed, 1), one("b", false, Failed, 9)];
        let state = judge(&both, Some(&start(Some("b"))));
        let why = "deployment b failed: tasks failed to start".to_owned();
        assert_eq!(state.rejected, Some(("7-abc".to_owned(), why)));
        assert_eq!((state.running, state.in_progress), (None, false));
    }

    /// The run died between its note and ECS's answer.
    #[test]
    fn a_start_without_a_name_is_whatever_began_since() {
        let after = judge(&[one("a", true, Completed, 1)], Some(&start(None)));
        assert_eq!((after.running.as_deref(), after.last_start), (Some("7-abc"), Some(THEN)));
        let before = judge(&[one("a", true, Completed, -1)], Some(&start(None)));
        assert_eq!((before.running, before.last_start, before.starts), (None, None, 3), "it never began, nor holds up");
    }
}
