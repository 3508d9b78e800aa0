//! A stage on AWS, where functions keep the fleet and an ECS service runs what is published.

use std::time::Duration;

use anyhow::{Result, bail};
use nodeweir_aws::{DynamoStore, EcsService, S3Object, Stack, connect};
use nodeweir_control::deploying::Deploying;
use nodeweir_control::edges::{EdgeError, Service as _};
use nodeweir_domain::config::RolloutMode;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, StageName};
use nodeweir_domain::text::show_duration;
use nodeweir_store::FleetStore as _;

use super::{Place, Runs, Waiting, Words, parsed};
use crate::context::{Context, Usage};

/// A change of the node list comes through a stream, a probe and the function `publish`: seconds, unless one starts cold
/// or is tried again.
const EDIT: Duration = Duration::from_secs(60);
/// For a deployment, from its start until no old task is left.
const DEPLOYMENT: Duration = Duration::from_secs(15 * 60);
/// Each look is a call that is paid for.
const LOOK: Duration = Duration::from_secs(1);
/// Each picture is several, and little changes between two ticks.
const WATCH: Duration = Duration::from_secs(5);

/// A deployed stack.
pub(crate) struct Stage {
    name: StageName,
    context: Context,
    store: DynamoStore,
    object: S3Object,
    service: Deploying<EcsService>,
}

impl Stage {
    /// Finds it.
    pub(crate) async fn find(context: Context, name: StageName) -> Result<Self> {
        let file = context.file.display();
        let Some(aws) = &context.config.aws else { return Err(Usage(format!("{file} has no section `aws`")).into()) };
        let sdk = connect(Some(&aws.region)).await;
        let stack = Stack::find(&sdk, name.as_str()).await?;
        // The same stage may be in two accounts.
        if stack.account != aws.account {
            bail!(
                "your credentials are for account {}, and {file} is for {}: name another profile in AWS_PROFILE, or \
                 another file with --config",
                stack.account,
                aws.account
            );
        }
        let store = DynamoStore::new(&sdk, stack.tables);
        let object = S3Object::new(&sdk, stack.bucket);
        let service = Deploying(EcsService::new(&sdk, stack.cluster, stack.service, store.clone()));
        Ok(Self { name, context, store, object, service })
    }

    fn redeploys(&self) -> bool {
        self.context.config.rollout.mode == RolloutMode::Redeploy
    }
}

/// Where a function's log is.
pub(crate) fn log_of(stage: &StageName, function: &str) -> String {
    format!("the log of function {function}, /nodeweir/{stage}/{function} in CloudWatch")
}

impl Place for Stage {
    type Store = DynamoStore;
    type Object = S3Object;

    fn context(&self) -> &Context {
        &self.context
    }

    fn store(&self) -> &DynamoStore {
        &self.store
    }

    fn published(&self) -> Result<S3Object, EdgeError> {
        Ok(self.object.clone())
    }

    async fn runs(&self) -> Result<Runs> {
        let service = if self.redeploys() { Some(self.service.state().await) } else { None };
        Ok(Runs::Stage { name: self.name.clone(), service })
    }

    fn is_kept(&self) -> bool {
        true
    }

    async fn taken_up(&self) -> Result<Option<Revision>> {
        Ok(parsed(&self.object).await?)
    }

    async fn in_service(&self) -> Result<Option<Revision>> {
        if !self.redeploys() {
            return self.taken_up().await;
        }
        let Some(running) = self.service.state().await?.running else { return Ok(None) };
        let published = self.taken_up().await?.filter(|published| published.name() == running);
        if published.is_some() {
            return Ok(published);
        }
        // A newer one is published, and waits for its deployment.
        let seq = running.split('-').next().and_then(|seq| seq.parse().ok());
        let Some(seq) = seq else { return Ok(None) };
        Ok(self.store.revision(seq).await?.filter(|revision| revision.name() == running))
    }

    fn waiting(&self) -> Waiting {
        let drain = if self.redeploys() { self.context.config.rollout.min_interval + DEPLOYMENT } else { EDIT };
        Waiting { edit: EDIT, drain, look: LOOK, watch: WATCH }
    }

    fn words(&self, waited: Duration) -> Words {
        let (status, waited) = (self.command("status"), show_duration(waited));
        let draining = self.redeploys().then(|| {
            format!("waiting for a deployment without it, {waited} at most; it stays cordoned if you stop waiting")
        });
        Words {
            serves: "it is published to serve".to_owned(),
            gone: "it is out of what is published, and tasks take that up within seconds".to_owned(),
            late: format!("that is not published after {waited}; see {status} and {}", log_of(&self.name, "publish")),
            idle: "it takes effect when the functions run".to_owned(),
            draining,
        }
    }

    fn command(&self, rest: &str) -> String {
        format!("`nodeweir --stage {} {rest}`", self.name)
    }

    fn addresses(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        self.context.stage_addresses_of(wanted)
    }

    fn after_edit(&self) -> &'static str {
        "; a deployment brings that to the tasks"
    }
}
