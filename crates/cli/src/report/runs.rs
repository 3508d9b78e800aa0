//! What keeps the fleet and what runs, as `status` tells it: what to look at, and what is merely going on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nodeweir_control::edges::{EdgeError, ServiceState, Tasks};
use nodeweir_domain::config::Config;
use nodeweir_domain::name::{NetworkId, StageName};
use nodeweir_domain::text::{counted, show_duration, since};
use nodeweir_store::sqlite::Runtime;
use serde::Serialize;

use super::Published;
use crate::place::log_of;

/// The schedules of the functions go by minutes, so that ticks may lie further apart than a shorter interval says.
const MINUTE: Duration = Duration::from_secs(60);
/// `rollout` is called by each publish, and every 5 minutes: what two of those left undone will stay so.
const ROLLOUT: Duration = Duration::from_secs(10 * 60);

/// What is known of what runs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Running {
    /// What `up` says.
    Up(Runtime),
    /// What ECS says.
    Service {
        /// The revision that the last completed deployment was started for.
        running: Option<String>,
        /// One whose deployment failed, and why.
        rejected: Option<(String, String)>,
        /// Whether a deployment is under way.
        in_progress: bool,
        /// When the last one began.
        last_start: Option<Timestamp>,
        /// Tasks that run.
        tasks_running: u32,
        /// Tasks that there should be.
        tasks_wanted: u32,
    },
}

impl Running {
    /// Its name.
    pub(crate) fn revision(&self) -> Option<&str> {
        match self {
            Self::Up(Runtime { running, .. }) | Self::Service { running, .. } => running.as_deref(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.revision() == Some(name)
    }
}

/// What it comes to.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stage: Option<StageName>,
    pub(super) is_up: bool,
    pub(super) running: Option<Running>,
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The command that ends a rollback.
    pub(super) release: String,
}

/// On this machine.
pub(super) fn of_up(is_up: bool, runtime: Option<Runtime>, published: Option<&Published>) -> Kept {
    let mut problems = Vec::new();
    match &runtime {
        _ if !is_up => problems.push("`nodeweir up` does not run on this state: nothing is watched".to_owned()),
        None => problems.push("`nodeweir up` is starting: nothing is known of the proxy yet".to_owned()),
        Some(runtime) => {
            if let Some((name, why)) = &runtime.rejected {
                problems.push(format!(
                    "revision {name} was rejected by the proxy's checker, the one before stays live: {why}"
                ));
            } else if let Some(published) = published.filter(|one| runtime.running.as_ref() != Some(&one.name)) {
                let running = runtime.running.as_deref().unwrap_or("nothing");
                problems.push(format!("revision {} is published, the proxy runs {running}", published.name));
            }
            problems.extend(runtime.fault.clone());
            problems.extend(runtime.gate_fault.clone());
        }
    }
    let (running, release) = (runtime.map(Running::Up), "`nodeweir rollback --release`".to_owned());
    Kept { stage: None, is_up, running, problems, notes: Vec::new(), release }
}

/// On AWS. `ticks` are the last of each network.
pub(super) fn of_stage(
    name: &StageName,
    service: Option<Result<ServiceState, EdgeError>>,
    ticks: Vec<(&NetworkId, Option<Timestamp>)>,
    published: Option<&Published>,
    config: &Config,
    now: Timestamp,
) -> Kept {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let unwatched = unwatched(ticks, config.health.interval, now);
    problems.extend(unwatched.as_ref().map(|what| format!("{what}; look at {}", log_of(name, "probe"))));
    if published.is_none() {
        problems.push(format!("nothing is published yet; look at {}", log_of(name, "publish")));
    }
    let running = match service {
        None => None,
        Some(Err(error)) => {
            problems.push(format!("what runs is not known: {error}"));
            None
        }
        Some(Ok(state)) => {
            match published.map(|published| deployment(published, &state, config.rollout.min_interval, now)) {
                Some(Deployment::Live) | None => {}
                Some(Deployment::OnItsWay(what)) => notes.push(what),
                Some(Deployment::Failed(what)) => problems.push(what),
                Some(Deployment::Missing(what)) => {
                    problems.push(format!("{what}; look at {}", log_of(name, "rollout")))
                }
            }
            problems.extend(missing_tasks(&state));
            let ServiceState { running, rejected, in_progress, last_start, tasks, .. } = state;
            let (tasks_running, tasks_wanted) = tasks.map_or((0, 0), |tasks| (tasks.running, tasks.wanted));
            Some(Running::Service { running, rejected, in_progress, last_start, tasks_running, tasks_wanted })
        }
    };
    let release = format!("`nodeweir --stage {name} rollback --release`");
    Kept { stage: Some(name.clone()), is_up: unwatched.is_none(), running, problems, notes, release }
}

/// Why nobody or too few answer, although the right revision runs.
fn missing_tasks(state: &ServiceState) -> Option<String> {
    let Tasks { running, wanted } = state.tasks?;
    if wanted == 0 {
        return Some(
            "the ECS service is scaled to 0, so that no task answers requests: give it tasks again".to_owned(),
        );
    }
    // A deployment starts and stops tasks; the alarm `tasks-below-desired` is for one that does not end.
    let is_short = running < wanted && !state.in_progress;
    is_short.then(|| format!("of {} that there should be, ECS runs {running}", counted(wanted.into(), "task")))
}

/// Which networks nobody looked at for too long.
fn unwatched(ticks: Vec<(&NetworkId, Option<Timestamp>)>, interval: Duration, now: Timestamp) -> Option<String> {
    let patience = 3 * interval.max(MINUTE);
    let all = ticks.len();
    let late: Vec<_> =
        ticks.into_iter().filter(|(_, tick)| tick.is_none_or(|tick| since(tick, now) > patience)).collect();
    let newest = late.iter().filter_map(|(_, tick)| *tick).max();
    let when = newest.map_or("yet".to_owned(), |tick| format!("for {}", show_duration(since(tick, now))));
    if late.is_empty() {
        return None;
    }
    if late.len() == all {
        return Some(format!("nothing was probed {when}: health is as it was"));
    }
    let names = late.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    Some(format!("{names}: not probed {when}: health is as it was"))
}

/// What became of the published revision.
#[derive(Debug, PartialEq, Eq)]
enum Deployment {
    /// The last completed deployment was started for it.
    Live,
    /// That is to come.
    OnItsWay(String),
    /// Its deployment failed.
    Failed(String),
    /// None was started for it for too long.
    Missing(String),
}

fn deployment(published: &Published, state: &ServiceState, min_interval: Duration, now: Timestamp) -> Deployment {
    let name = &published.name;
    if state.running.as_ref() == Some(name) {
        return Deployment::Live;
    }
    if let Some((_, why)) = state.rejected.as_ref().filter(|(rejected, _)| rejected == name) {
        return Deployment::Failed(format!("revision {name}: {why}; what ran before runs on"));
    }
    if state.in_progress {
        return Deployment::OnItsWay(format!("revision {name} is published; a deployment is in progress"));
    }
    let next = state.last_start.map(|start| start.saturating_add(signed(min_interval)).unwrap_or(start));
    let due = next.filter(|next| *next > now);
    if let Some(due) = due {
        let left = show_duration(since(now, due));
        return Deployment::OnItsWay(format!(
            "revision {name} waits for its deployment, which begins in {left} (rollout.min_interval)"
        ));
    }
    let waited = since(next.map_or(published.at, |next| next.max(published.at)), now);
    if waited > ROLLOUT {
        let waited = show_duration(waited);
        return Deployment::Missing(format!(
            "revision {name} is published, and no deployment of it began for {waited}"
        ));
    }
    Deployment::OnItsWay(format!("revision {name} waits for its deployment, which begins within minutes"))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
    const INTERVAL: Duration = Duration::from_secs(600);

    fn ago(seconds: i64) -> Timestamp {
        NOW - SignedDuration::from_secs(seconds)
    }

    fn check(published_ago: i64, state: &ServiceState, expected: &str) {
        let published = Published { name: "7-abc".to_owned(), at: ago(published_ago), reason: String::new() };
        let found = format!("{:?}", deployment(&published, state, INTERVAL, NOW));
        assert!(found.contains(expected), "{state:?}: {found}");
    }

    #[test]
    fn what_became_of_a_revision_is_told_with_its_reason() {
        let state = ServiceState { starts: 1, running: Some("6-def".to_owned()), ..ServiceState::default() };
        let running = |name: &str| Some(name.to_owned());
        check(9_999, &ServiceState { running: running("7-abc"), in_progress: true, ..state.clone() }, "Live");
        check(
            9_999,
            &ServiceState { in_progress: true, ..state.clone() },
            "OnItsWay(\"revision 7-abc is published; a deployment",
        );
        let waits = ServiceState { last_start: Some(ago(180)), ..state.clone() };
        check(170, &waits, "begins in 7m (rollout.min_interval)");
        check(30, &ServiceState { last_start: Some(ago(7_000)), ..state.clone() }, "within minutes");
        check(9_999, &ServiceState { last_start: Some(ago(700)), ..state.clone() }, "within minutes");
        check(
            9_999,
            &ServiceState { last_start: Some(ago(1_300)), ..state.clone() },
            "Missing(\"revision 7-abc is published, and no deployment of it began for 11m",
        );
        check(700, &state, "began for 11m 40s");
        let rejected = |name: &str| Some((name.to_owned(), "deployment b failed: no memory".to_owned()));
        check(
            5,
            &ServiceState { rejected: rejected("7-abc"), ..state.clone() },
            "Failed(\"revision 7-abc: deployment b failed: no memory",
        );
        check(5, &ServiceState { rejected: rejected("6-def"), ..state }, "OnItsWay");
    }

    #[test]
    fn a_service_with_too_few_tasks_is_told() {
        let said = |running, wanted, in_progress| {
            let tasks = Some(Tasks { running, wanted });
            missing_tasks(&ServiceState { tasks, in_progress, ..ServiceState::default() })
        };
        assert_eq!((said(2, 2, false), said(3, 2, false), said(1, 2, true)), (None, None, None));
        assert!(said(0, 0, false).unwrap().contains("scaled to 0"));
        assert_eq!(said(1, 2, false).unwrap(), "of 2 tasks that there should be, ECS runs 1");
        assert_eq!(missing_tasks(&ServiceState::default()), None, "nobody counts");
    }

    #[test]
    fn a_fleet_is_unwatched_after_three_intervals() {
        let [one, other] = ["ethereum", "polygon"].map(|name| name.parse::<NetworkId>().unwrap());
        let look = |ticks: [Option<Timestamp>; 2], interval: u64| {
            unwatched(vec![(&one, ticks[0]), (&other, ticks[1])], Duration::from_secs(interval), NOW)
        };
        assert_eq!(look([Some(ago(180)), Some(ago(0))], 60), None);
        assert_eq!(look([Some(ago(900)), Some(ago(600))], 300), None);
        assert_eq!(look([Some(ago(170)), Some(ago(170))], 5), None, "the schedule goes by minutes");
        let said = look([Some(ago(181)), Some(ago(0))], 60).unwrap();
        assert!(said.starts_with("ethereum: not probed for 3m 1s"), "{said}");
        let said = look([Some(ago(400)), Some(ago(300))], 60).unwrap();
        assert!(said.starts_with("nothing was probed for 5m"), "{said}");
        let said = look([None, None], 60).unwrap();
        assert!(said.starts_with("nothing was probed yet"), "{said}");
    }
}
