//! The function `rollout`.

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;
use nodeweir_aws::metrics::Line;
use nodeweir_aws::{DynamoStore, EcsService, S3Object};
use nodeweir_control::deploying::Deploying;
use nodeweir_control::rollout::{self, Outcome};
use nodeweir_domain::config::RolloutMode;
use serde_json::{Value, json};
use tracing::{error, info};

use crate::error::RunError;
use crate::runtime::Function;
use crate::settings::{Settings, variable};

/// Makes the proxy's tasks run what is published.
pub struct Rollout {
    settings: Settings,
    store: DynamoStore,
    object: S3Object,
    service: Deploying<EcsService>,
}

impl Rollout {
    /// With clients over `sdk`.
    pub fn new(sdk: &SdkConfig, settings: &Settings) -> Result<Self> {
        let store = DynamoStore::new(sdk, settings.tables.clone());
        let (cluster, service) = (variable("NODEWEIR_CLUSTER")?, variable("NODEWEIR_SERVICE")?);
        Ok(Self {
            settings: settings.clone(),
            object: S3Object::new(sdk, variable("NODEWEIR_BUCKET")?),
            service: Deploying(EcsService::new(sdk, cluster, service, store.clone())),
            store,
        })
    }
}

impl Function for Rollout {
    const NAME: &'static str = "rollout";

    async fn run(&self, _: Value, _: Timestamp) -> Result<Value, RunError> {
        let config = &self.settings.config;
        if config.rollout.mode == RolloutMode::Reload {
            // Tasks follow the published object by themselves.
            return Ok(json!({"outcome": "left to the tasks"}));
        }
        let outcome = rollout::run(&self.store, &self.object, &self.service, config, Timestamp::now()).await?;
        let told = match &outcome {
            Outcome::Nothing => "nothing is published yet",
            Outcome::Current => "current",
            Outcome::Waiting => "waiting",
            Outcome::Started(name) => {
                info!(revision = name, "a deployment was started");
                "started"
            }
            Outcome::Rejected(name, why) => {
                error!(revision = name, why, "the deployment failed; the one before stays");
                "failed"
            }
        };
        Line::about(&self.settings.stage, &[])
            .put_if("RolloutStarted", matches!(outcome, Outcome::Started(_)))
            .put_if("RolloutFailed", matches!(outcome, Outcome::Rejected(..)))
            .print(Timestamp::now());
        Ok(json!({"outcome": told}))
    }
}
