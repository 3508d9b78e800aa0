//! The ECS service whose tasks run what is published. What was started last is noted in `history`, in one row.

use aws_config::SdkConfig;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Deployment as Described, DeploymentRolloutState};
use jiff::Timestamp;
use nodeweir_control::deploying::{Deployer, Deployment, LastStart, Progress};
use nodeweir_control::edges::{EdgeError, Tasks};
use nodeweir_store::Written;

use crate::connect::why;
use crate::packed::pack;
use crate::store::{DynamoStore, Row, read, to_text};

/// The status of the deployment that ECS works towards.
const PRIMARY: &str = "PRIMARY";

/// A service on ECS; `Deploying` makes it one that runs revisions.
#[derive(Debug, Clone)]
pub struct EcsService {
    client: Client,
    cluster: String,
    service: String,
    store: DynamoStore,
}

fn told(described: &Described) -> Deployment {
    let why = || described.rollout_state_reason().unwrap_or("ECS gives no reason").to_owned();
    let progress = match described.rollout_state() {
        Some(DeploymentRolloutState::InProgress) => Progress::InProgress,
        Some(DeploymentRolloutState::Completed) => Progress::Completed,
        Some(DeploymentRolloutState::Failed) => Progress::Failed(why()),
        _ => Progress::Unknown,
    };
    let id = described.id().unwrap_or_default().to_owned();
    Deployment { id, is_primary: described.status() == Some(PRIMARY), progress }
}

impl EcsService {
    /// The service of this name in this cluster; its last start is written down in `store`.
    pub fn new(sdk: &SdkConfig, cluster: String, service: String, store: DynamoStore) -> Self {
        Self { client: Client::new(sdk), cluster, service, store }
    }

    fn error(&self, verb: &str, error: &impl ToString) -> EdgeError {
        EdgeError::new(format!("{verb} service {} of ECS cluster {}", self.service, self.cluster), error)
    }
}

impl Deployer for EcsService {
    type Version = Row;

    async fn deployments(&self) -> Result<(Vec<Deployment>, Option<Tasks>), EdgeError> {
        let asked = self.client.describe_services().cluster(&self.cluster).services(&self.service).send().await;
        let described = asked.map_err(|error| self.error("asking for", &why(&error)))?;
        let Some(service) = described.services().iter().find(|service| service.status() == Some("ACTIVE")) else {
            return Err(self.error("asking for", &"there is no such service, or it is being removed"));
        };
        let [running, wanted] = [service.running_count(), service.desired_count()];
        let [running, wanted] = [running, wanted].map(|count| u32::try_from(count).unwrap_or_default());
        Ok((service.deployments().iter().map(told).collect(), Some(Tasks { running, wanted })))
    }

    async fn deploy(&self) -> Result<Option<String>, EdgeError> {
        let update = self.client.update_service().cluster(&self.cluster).service(&self.service);
        let updated = update.force_new_deployment(true).send().await;
        let updated = updated.map_err(|error| self.error("starting a deployment of", &why(&error)))?;
        let deployments = updated.service().map_or(&[][..], |service| service.deployments());
        let primary = deployments.iter().find(|deployment| deployment.status() == Some(PRIMARY));
        Ok(primary.and_then(Described::id).map(str::to_owned))
    }

    async fn last_start(&self) -> Result<(Option<Row>, Option<LastStart>), EdgeError> {
        let row = self.store.get(self.store.deployment()).await;
        let row = row.map_err(|error| self.error("reading the last start of", &error))?;
        let start = row.as_ref().and_then(read);
        Ok((row, start))
    }

    async fn note_start(&self, seen: Option<&Row>, start: &LastStart) -> Result<Written, EdgeError> {
        let place = self.store.deployment();
        let written = self.store.swap(place, seen, Some(place.row(pack(&to_text(start))))).await;
        written.map_err(|error| self.error("noting the start of", &error))
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
