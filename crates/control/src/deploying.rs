//! A service that is run by deploying it: one deployment at a time, and it is known what each was started for.
//!
//! Tasks of a deployment read the newest revision when they start. Which revision a deployment was started for is written
//! down in one note that counts the starts: of two runs that saw the same count only one starts. The note is written before
//! the service is asked, so a run may die between the two; what the service shows tells then whether it was asked. One that
//! is only slow is not told from one that is dead: then two deployments may run side by side, which ends with the newer one.
//!
//! ECS is such a service (`crates/aws`), and so is the one of the simulation.

use jiff::Timestamp;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::Written;
use serde::{Deserialize, Serialize};

use crate::edges::{EdgeError, Service, ServiceState, Started, Tasks};

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Its tasks are being started.
    InProgress,
    /// They run.
    Completed,
    /// It was given up, for this reason.
    Failed(String),
    /// The service does not say.
    Unknown,
}

/// A deployment, as the service shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The service's name for it.
    pub id: String,
    /// Whether it is the one that the service works towards.
    pub is_primary: bool,
    /// How far it is.
    pub progress: Progress,
}

/// The last start of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastStart {
    /// Counts starts.
    pub starts: u64,
    /// The revision's name.
    pub revision: String,
    /// When it was to start.
    pub at: Timestamp,
    /// The primary deployment just before.
    #[serde(default)]
    pub replaces: Option<String>,
    /// The service's name for the deployment; none until it is known, or for ever if the run that started it died.
    pub deployment: Option<String>,
}

/// What deploying needs from outside: the service, and a place for the note.
pub trait Deployer: Send + Sync {
    /// What tells one state of the note from another.
    type Version: Send + Sync;

    /// The deployments that the service remembers, and its tasks if it counts them.
    fn deployments(&self) -> impl Future<Output = Result<(Vec<Deployment>, Option<Tasks>), EdgeError>> + Send;

    /// Begins a deployment, whatever else is under way. Its name, if the service tells.
    fn deploy(&self) -> impl Future<Output = Result<Option<String>, EdgeError>> + Send;

    /// The note, as far as it can be read, and its version; no version if there is none.
    fn last_start(&self) -> impl Future<Output = Result<(Option<Self::Version>, Option<LastStart>), EdgeError>> + Send;

    /// Replaces the note if its version is still `seen`.
    fn note_start(
        &self,
        seen: Option<&Self::Version>,
        start: &LastStart,
    ) -> impl Future<Output = Result<Written, EdgeError>> + Send;

    /// What the clock says.
    fn now(&self) -> Timestamp;
}

/// A deployer as a service that runs revisions.
#[derive(Debug, Clone)]
pub struct Deploying<D>(pub D);

impl<D: Deployer> Service for Deploying<D> {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        // Before the deployments: one that is noted after this makes the next start here overtaken.
        let (_, start) = self.0.last_start().await?;
        let (deployments, tasks) = self.0.deployments().await?;
        Ok(ServiceState { tasks, ..judge(&deployments, start.as_ref()) })
    }

    async fn start(&self, seen: &ServiceState, revision: &Revision, _: &str) -> Result<Started, EdgeError> {
        let (before, last) = self.0.last_start().await?;
        if last.map_or(0, |last| last.starts) != seen.starts {
            return Ok(Started::Overtaken);
        }
        let (deployments, _) = self.0.deployments().await?;
        if is_in_progress(&deployments) {
            return Ok(Started::Overtaken);
        }
        let replaces = deployments.into_iter().find(|one| one.is_primary).map(|one| one.id);
        let (starts, at) = (seen.starts.saturating_add(1), self.0.now());
        let start = LastStart { starts, revision: revision.name(), at, replaces, deployment: None };
        if self.0.note_start(before.as_ref(), &start).await? == Written::Lost {
            return Ok(Started::Overtaken);
        }
        if let Some(id) = self.0.deploy().await? {
            let (before, noted) = self.0.last_start().await?;
            if noted.as_ref() == Some(&start) {
                // Lost: another run started something newer, and its note is the one to keep.
                let _ = self.0.note_start(before.as_ref(), &LastStart { deployment: Some(id), ..start }).await?;
            }
        }
        Ok(Started::Yes)
    }
}

fn is_in_progress(deployments: &[Deployment]) -> bool {
    deployments.iter().any(|one| one.progress == Progress::InProgress)
}

/// What the deployments and the last start come to.
fn judge(deployments: &[Deployment], start: Option<&LastStart>) -> ServiceState {
    let in_progress = is_in_progress(deployments);
    let Some(start) = start else { return ServiceState { in_progress, ..ServiceState::default() } };
    let mine = match &start.deployment {
        Some(id) => deployments.iter().find(|one| one.id == *id),
        // The run that started it died before it could note the name: whatever began since then read this revision or a
        // newer one. No clocks are compared, of which one may be wrong.
        None => deployments.iter().find(|one| one.is_primary && start.replaces.as_ref() != Some(&one.id)),
    };
    let failed = mine.and_then(|one| match &one.progress {
        Progress::Failed(why) => Some((start.revision.clone(), format!("deployment {} failed: {why}", one.id))),
        _ => None,
    });
    let runs = mine.is_some_and(|one| one.is_primary && one.progress == Progress::Completed);
    ServiceState {
        starts: start.starts,
        running: runs.then(|| start.revision.clone()),
        in_progress,
        // A start that came to nothing holds no other up.
        last_start: (start.deployment.is_some() || mine.is_some()).then_some(start.at),
        // For as long as the service remembers it; then it is tried again.
        rejected: failed,
        tasks: None,
    }
}

#[cfg(test)]
mod tests {
    use Progress::{Completed, Failed, InProgress};

    use super::*;

    const THEN: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn one(id: &str, is_primary: bool, progress: Progress) -> Deployment {
        Deployment { id: id.to_owned(), is_primary, progress }
    }

    fn start(deployment: Option<&str>) -> LastStart {
        let (replaces, deployment) = (Some("a".to_owned()), deployment.map(str::to_owned));
        LastStart { starts: 3, revision: "7-abc".to_owned(), at: THEN, replaces, deployment }
    }

    #[test]
    fn what_runs_is_what_the_completed_deployment_was_started_for() {
        let state = judge(&[one("b", true, Completed)], Some(&start(Some("b"))));
        assert_eq!((state.running.as_deref(), state.starts, state.in_progress), (Some("7-abc"), 3, false));
        assert_eq!(state.last_start, Some(THEN));
        for others in [vec![], vec![one("c", true, Completed)]] {
            assert_eq!(judge(&others, Some(&start(Some("b")))).running, None, "it was replaced");
        }
    }

    #[test]
    fn a_deployment_on_its_way_is_in_progress_whoever_started_it() {
        let both = [one("c", true, InProgress), one("b", false, Completed)];
        for last in [None, Some(start(Some("b"))), Some(start(Some("c")))] {
            let state = judge(&both, last.as_ref());
            assert!(state.in_progress && state.running.is_none(), "{state:?}");
        }
    }

    #[test]
    fn one_that_failed_is_rejected_with_its_reason() {
        let both = [one("a", true, Completed), one("b", false, Failed("tasks failed to start".to_owned()))];
        let state = judge(&both, Some(&start(Some("b"))));
        let why = "deployment b failed: tasks failed to start".to_owned();
        assert_eq!(state.rejected, Some(("7-abc".to_owned(), why)));
        assert_eq!((state.running, state.in_progress), (None, false));
    }

    /// The run died between its note and the service's answer.
    #[test]
    fn a_start_without_a_name_is_whatever_began_since() {
        let after = judge(&[one("b", true, Completed)], Some(&start(None)));
        assert_eq!((after.running.as_deref(), after.last_start), (Some("7-abc"), Some(THEN)));
        let before = judge(&[one("a", true, Completed)], Some(&start(None)));
        assert_eq!((before.running, before.last_start, before.starts), (None, None, 3), "it never began, nor holds up");
    }

    /// Written by a version that compared clocks instead.
    #[test]
    fn a_note_that_does_not_say_what_it_replaces_can_be_read() {
        let text = r#"{"starts":3,"revision":"7-abc","at":"2023-11-14T22:13:20Z","deployment":"b"}"#;
        let read: LastStart = serde_json::from_str(text).unwrap();
        assert_eq!(read, LastStart { replaces: None, ..start(Some("b")) });
    }
}
