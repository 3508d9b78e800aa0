//! The function `publish`.

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;
use nodeweir_aws::metrics::{Line, Unit};
use nodeweir_aws::{DynamoStore, ProbeFunction, S3Object};
use nodeweir_control::probe::unjudged;
use nodeweir_control::publish::{self, Outcome};
use nodeweir_domain::fleet::inspect::{Finding, Kind};
use nodeweir_domain::text::since;
use nodeweir_store::FleetStore as _;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::error::RunError;
use crate::events::StreamEvent;
use crate::runtime::Function;
use crate::settings::{Settings, variable};

/// Plans, and puts the wanted revision where proxies read it.
pub struct Publish {
    settings: Settings,
    store: DynamoStore,
    object: S3Object,
    probe: ProbeFunction,
}

impl Publish {
    /// With clients over `sdk`.
    pub fn new(sdk: &SdkConfig, settings: &Settings) -> Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            store: DynamoStore::new(sdk, settings.tables.clone()),
            object: S3Object::new(sdk, variable("NODEWEIR_BUCKET")?),
            probe: ProbeFunction::new(sdk, variable("NODEWEIR_PROBE_FUNCTION")?),
        })
    }

    /// Has nodes looked at that nobody judged yet at their present address. Without, they are published with the next
    /// tick.
    async fn judge_edits(&self) -> Result<(), RunError> {
        let networks = unjudged(&self.store, &self.settings.config).await?;
        if networks.is_empty() {
            return Ok(());
        }
        match self.probe.probe(&networks).await {
            Ok(()) => info!(?networks, "probed because of an edit"),
            Err(error) => warn!(%error, ?networks, "nodes that were edited are probed with the next tick only"),
        }
        Ok(())
    }

    async fn publish(&self, event: &StreamEvent) -> Result<Value, RunError> {
        if event.is_about(&self.settings.tables.nodes) {
            self.judge_edits().await?;
        }
        let now = Timestamp::now();
        let outcome = publish::run(&self.store, &self.object, &self.settings.config, now).await?;
        let newest = self.store.revisions(1).await?;
        let is_pinned = self.store.pin().await?.is_some_and(|pin| now < pin.until);
        let (is_published, findings) = match &outcome {
            Outcome::Unchanged { findings, .. } => (false, findings),
            Outcome::Published { name, reason, findings } => {
                info!(revision = name, reason, "published");
                (true, findings)
            }
            Outcome::Refused(findings) => {
                error!("publishing is refused, the last good revision stays");
                (false, findings)
            }
        };
        for finding in findings {
            warn!(network = finding.network.as_ref().map(ToString::to_string), "{finding}");
        }
        let is_shrunk = |finding: &Finding| finding.kind == Kind::Shrunk;
        let mut line = Line::about(&self.settings.stage, &[]);
        line.put_if("Published", is_published)
            .put_if("Refused", matches!(outcome, Outcome::Refused(_)))
            .put_if("Pinned", is_pinned)
            .put_if("RosterShrank", is_published && findings.iter().any(is_shrunk));
        if let Some(revision) = newest.first() {
            line.put("RevisionAgeSeconds", Unit::Seconds, since(revision.at, Timestamp::now()).as_secs());
            line.note("revision", revision.name.as_str()).note("reason", revision.reason.as_str());
        }
        line.print(Timestamp::now());
        Ok(json!({"published": is_published, "revision": newest.first().map(|revision| &revision.name)}))
    }
}

impl Function for Publish {
    const NAME: &'static str = "publish";

    async fn run(&self, event: Value, _: Timestamp) -> Result<Value, RunError> {
        let event: StreamEvent = serde_json::from_value(event)?;
        self.publish(&event).await
    }

    /// A batch of a stream is not failed as a whole by an error but sent again by name, so that Lambda counts tries.
    fn answer(&self, event: &Value, outcome: &Result<Value, RunError>) -> Option<Value> {
        let event: StreamEvent = serde_json::from_value(event.clone()).unwrap_or_default();
        event.is_batch().then(|| if outcome.is_ok() { StreamEvent::done() } else { event.again() })
    }
}
