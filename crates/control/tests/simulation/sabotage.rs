//! Promises that are broken on purpose, to see that the invariants notice.

use nodeweir_control::edges::{PublishedObject, Service};
use nodeweir_control::publish::{self, Outcome, Planned, PublishError};
use nodeweir_control::rollout::{self, RolloutError};
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::FleetStore;

use crate::clock::apart;
use crate::edges::Edges;

/// What is wrong in a world: an edge that does not keep a promise, or a flow replaced by a careless one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// The object is replaced whoever asks.
    IgnoredEtag,
    /// The store writes whatever is there.
    IgnoredConditions,
    /// The list is read without its cordons.
    ForgottenCordons,
    /// Health is read as if no node were on another chain.
    ForgottenChains,
    /// The list is read with what was removed from it.
    StaleItems,
    /// An unusable item takes another network's nodes away.
    ContagiousGarbage,
    /// The service does not say that a deployment is under way, or was.
    HiddenDeployment,
    /// The service starts whoever asks.
    UncountedStarts,
    /// The history keeps nothing.
    ForgottenHistory,
    /// Publishing asks for the object's version only after planning.
    LateEtag,
    /// Rolling out asks for the service's state only after reading the object.
    LateState,
    /// Publishing always publishes.
    RestlessPublish,
    /// Probing stops at an unusable item.
    FragileProbe,
    /// Publishing and rolling out happen on events only.
    NoSchedule,
}

impl Sabotage {
    /// All but [`Self::None`].
    pub(crate) const ALL: [Self; 14] = [
        Self::IgnoredEtag,
        Self::IgnoredConditions,
        Self::ForgottenCordons,
        Self::ForgottenChains,
        Self::StaleItems,
        Self::ContagiousGarbage,
        Self::HiddenDeployment,
        Self::UncountedStarts,
        Self::ForgottenHistory,
        Self::LateEtag,
        Self::LateState,
        Self::RestlessPublish,
        Self::FragileProbe,
        Self::NoSchedule,
    ];

    /// As what it may be noticed.
    pub(crate) fn symptoms(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::IgnoredEtag => &["replaced a version that its run had not read", "does not count up"],
            Self::IgnoredConditions => &["over one that it had not seen", "was overwritten", "without a reason"],
            Self::ForgottenCordons => &["is cordoned"],
            Self::ForgottenChains => &["is on a wrong chain"],
            Self::StaleItems => &["is not in the list"],
            Self::ContagiousGarbage => &["if it were alone", "is not in the list", "is cordoned"],
            Self::HiddenDeployment => &["two deployments at once", "two deployments within"],
            Self::UncountedStarts => &["two deployments at once"],
            Self::ForgottenHistory => &["is in no history"],
            Self::LateEtag => &["planned from a list that was read before the object's version"],
            Self::LateState => &["starts after what replaced it"],
            Self::RestlessPublish => &["no fixed point"],
            Self::FragileProbe => &["failed without a fault"],
            Self::NoSchedule => &["not converged"],
        }
    }
}

/// A careless flow in the place of [`publish::run`]: it puts whatever it planned, needed or not, and asks for the
/// version it replaces either first, as it should, or (`is_late`) last.
pub(crate) async fn careless_publish(edges: &Edges, config: &Config, is_late: bool) -> Result<Outcome, PublishError> {
    let Planned { plan, published, mut etag, newest, .. } = publish::look(edges, edges, config, edges.now).await?;
    if let Some(published) = &published {
        edges.record_revision(published).await?;
    }
    if is_late {
        etag = edges.get().await?.unzip().0;
    }
    let (seq, proxy, at, reason) = (newest + 1, config.proxy.kind, edges.now, "why not".to_owned());
    let revision = Revision { seq, proxy, at, reason, rosters: plan.rosters, body: plan.body };
    if !edges.put(etag.as_ref(), &revision.compose()).await? {
        return Err(PublishError::Overtaken);
    }
    edges.record_revision(&revision).await?;
    Ok(Outcome::Published { name: revision.name(), reason: revision.reason, findings: plan.findings })
}

/// A careless flow in the place of [`rollout::run`]: what it starts may have been replaced before it asked.
pub(crate) async fn careless_rollout(edges: &Edges, config: &Config) -> Result<rollout::Outcome, RolloutError> {
    let Some((_, text)) = edges.get().await? else { return Ok(rollout::Outcome::Nothing) };
    let revision = Revision::parse(&text)?;
    let seen = edges.state().await?;
    let is_recent = seen.last_start.is_some_and(|last| apart(last, edges.now) < config.rollout.min_interval);
    if seen.in_progress || is_recent || seen.running == Some(revision.name()) {
        return Ok(rollout::Outcome::Waiting);
    }
    edges.start(&seen, &revision, &text).await?;
    Ok(rollout::Outcome::Started(revision.name()))
}
