//! The real flows as runs of the simulation: what each leads to, and whether it may end as it did.

use nodeweir_control::deploying::Deploying;
use nodeweir_control::probe::{self, Scope};
use nodeweir_control::publish::{self, PublishError};
use nodeweir_control::rollout::{self, RolloutError};

use crate::edges::Edges;
use crate::sabotage::{Sabotage, careless_publish, careless_rollout};

/// A flow to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flow {
    Probe(Scope),
    Publish,
    Rollout,
    /// On AWS: what a stream tells `publish`, of the node list or of other tables, for the so many-th time.
    Batch {
        is_edit: bool,
        tries: u32,
    },
}

/// What a finished run leads to: flows, each so many seconds later.
pub(crate) type Triggers = Vec<(u64, Flow)>;

/// Says how a run ended, and whether it may have failed: one without a fault of an edge may not.
fn ended(edges: &Edges, flow: &'static str, said: &str, is_failure: bool) {
    let mut state = edges.world.state();
    // In quiet times the same again does not belong to the story, or its interesting part would scroll away.
    let is_again = state.said.insert(flow, said.to_owned()).is_some_and(|before| before == said);
    if state.trouble.is_on || !is_again {
        state.tell(|| format!("run {} of {flow}: {said}", edges.run));
    }
    if is_failure && !state.run(edges.run).met_fault {
        state.broken(format!("a run of {flow} failed without a fault: {said}"));
    }
}

/// Probes, and checks that no network was left out.
pub(crate) async fn probe(edges: Edges, scope: Scope) -> Triggers {
    let config = edges.world.state().config.clone();
    let report = match probe::run(&edges, &edges, &config, &scope, edges.now).await {
        Ok(report) => report,
        Err(error) => {
            ended(&edges, "probe", &error.to_string(), true);
            return Triggers::new();
        }
    };
    let is_fragile = edges.world.state().sabotage == Sabotage::FragileProbe && !report.listed.rejected.is_empty();
    let flips: Vec<_> = report.flips.iter().map(|(n, flip)| format!("{n}/{} {}", flip.node, flip.to)).collect();
    ended(&edges, "probe", &format!("flips {flips:?}"), is_fragile || !report.failed.is_empty());
    let mut state = edges.world.state();
    let ticked = state.run(edges.run).ticked.clone();
    let is_of_scope = |id| scope == Scope::All || matches!(&scope, Scope::Networks(ids) if ids.contains(id));
    if let Some(left) = state.config.networks.keys().find(|id| is_of_scope(id) && !ticked.contains(id)).cloned() {
        state.broken(format!("a probe left {left} out"));
    }
    state.check_flips(&edges, &scope, &report);
    let confirm_after = state.config.health.confirm_after.as_secs();
    let again = [(confirm_after, report.unconfirmed), (0, report.overtaken)].into_iter();
    let again = again.filter(|(_, ids)| !ids.is_empty()).map(|(after, ids)| (after, Flow::Probe(Scope::Networks(ids))));
    (!report.flips.is_empty()).then_some((0, Flow::Publish)).into_iter().chain(again).collect()
}

/// How often a stream sends a batch that fails.
const TRIES: u32 = 3;

/// As the function `publish` does when a stream calls it: for an edit, nodes that nobody judged yet are probed first.
pub(crate) async fn batch(edges: Edges, is_edit: bool, tries: u32) -> Triggers {
    let again = || if tries < TRIES { vec![(5, Flow::Batch { is_edit, tries: tries + 1 })] } else { Triggers::new() };
    let config = edges.world.state().config.clone();
    let mut triggers = Triggers::new();
    if is_edit {
        match probe::unjudged(&edges, &config).await {
            Ok(networks) if networks.is_empty() => {}
            Ok(networks) => triggers.extend(probe(edges.clone(), Scope::Networks(networks)).await),
            Err(error) => {
                ended(&edges, "publish", &error.to_string(), true);
                return again();
            }
        }
    }
    let now = edges.world.state().now();
    triggers.extend(publish(Edges { now, ..edges }).await.unwrap_or_else(again));
    triggers
}

/// Publishes, and checks what is published then. Nothing if it fails.
pub(crate) async fn publish(edges: Edges) -> Option<Triggers> {
    let (config, sabotage) = {
        let state = edges.world.state();
        (state.config.clone(), state.sabotage)
    };
    let outcome = match sabotage {
        Sabotage::LateEtag => careless_publish(&edges, &config, true).await,
        Sabotage::RestlessPublish => careless_publish(&edges, &config, false).await,
        _ => publish::run(&edges, &edges, &config, edges.now).await,
    };
    let is_overtaken = edges.world.state().run(edges.run).overtaken > 0;
    match outcome {
        Ok(publish::Outcome::Refused(findings)) => {
            edges.world.state().broken(format!("publishing was refused: {findings:?}"));
            Some(Triggers::new())
        }
        Ok(publish::Outcome::Unchanged { name, .. }) => {
            ended(&edges, "publish", &format!("{name} stays"), false);
            edges.world.state().check_published(&edges);
            Some(Triggers::new())
        }
        Ok(publish::Outcome::Published { name, .. }) => {
            ended(&edges, "publish", &format!("{name} is published"), false);
            edges.world.state().check_published(&edges);
            Some(vec![(0, Flow::Rollout)])
        }
        Err(error) => {
            let is_failure = !(matches!(error, PublishError::Overtaken) && is_overtaken);
            ended(&edges, "publish", &error.to_string(), is_failure);
            None
        }
    }
}

/// Rolls out; a damaged object is the only reason of its own to fail.
pub(crate) async fn rollout(edges: Edges) -> Triggers {
    let (config, sabotage, is_local) = {
        let state = edges.world.state();
        (state.config.clone(), state.sabotage, state.settings.is_local)
    };
    let outcome = match sabotage {
        Sabotage::LateState => careless_rollout(&edges, &config).await,
        _ if is_local => rollout::run(&edges, &edges, &edges, &config, edges.now).await,
        _ => rollout::run(&edges, &edges, &Deploying(edges.clone()), &config, edges.now).await,
    };
    match outcome {
        Ok(outcome) => ended(&edges, "rollout", &format!("{outcome:?}"), false),
        Err(error) => {
            let object = edges.world.state().run(edges.run).object.clone();
            let is_damaged = object.is_some_and(|(_, object)| object.is_some_and(|object| object.revision.is_none()));
            let is_failure = !(matches!(error, RolloutError::Unreadable(_)) && is_damaged);
            ended(&edges, "rollout", &error.to_string(), is_failure);
        }
    }
    Triggers::new()
}
