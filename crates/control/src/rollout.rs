//! The flow *roll out*: make running proxies use what is published.

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::revision::{BadRevision, Revision};
use nodeweir_store::{Event, FleetStore, StoreError};

use crate::edges::{EdgeError, PublishedObject, Service, Started};

/// What a run of the flow came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is published yet.
    Nothing,
    /// What is published runs.
    Current,
    /// A deployment is in progress, or the last one is too recent; the newest revision waits.
    Waiting,
    /// It was started.
    Started(String),
    /// It cannot be run: its name, and what the checker said. What ran before runs on.
    Rejected(String, String),
}

/// Why a run failed. The next run sees that published is not running, and repeats it.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The published object or the service.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The history.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is published is not a revision; publishing mends that.
    #[error("what is published cannot be run: {0}")]
    Unreadable(#[from] BadRevision),
    /// What is published is for the other proxy; publishing mends that.
    #[error("what is published is for {published}, the configuration wants {wanted}")]
    OtherProxy {
        /// In the revision.
        published: String,
        /// In the configuration.
        wanted: String,
    },
}

/// Runs the flow once.
pub async fn run<S: FleetStore, O: PublishedObject, V: Service>(
    store: &S,
    object: &O,
    service: &V,
    config: &Config,
    now: Timestamp,
) -> Result<Outcome, RolloutError> {
    // Before the object: whoever starts something newer than what is read below counts up, and this run is overtaken.
    let seen = service.state().await?;
    let Some((_, text)) = object.get().await? else { return Ok(Outcome::Nothing) };
    let revision = Revision::parse(&text)?;
    if revision.proxy != config.proxy.kind {
        let (published, wanted) = (revision.proxy.to_string(), config.proxy.kind.to_string());
        return Err(RolloutError::OtherProxy { published, wanted });
    }
    let name = revision.name();
    if seen.running.as_ref() == Some(&name) {
        return Ok(Outcome::Current);
    }
    if let Some((_, why)) = seen.rejected.as_ref().filter(|(rejected, _)| *rejected == name) {
        return Ok(Outcome::Rejected(name, why.clone()));
    }
    let is_recent = |last| is_within(last, now, config.rollout.min_interval);
    if seen.in_progress || seen.last_start.is_some_and(is_recent) {
        return Ok(Outcome::Waiting);
    }
    let started = service.start(&seen, &revision, &text).await?;
    let (kind, what) = match &started {
        Started::Overtaken => return Ok(Outcome::Waiting),
        Started::Yes => ("rollout", format!("revision {name} runs")),
        Started::Rejected(why) => ("reject", format!("revision {name} was rejected by the proxy's checker: {why}")),
    };
    let event = Event { at: now, who: "rollout".to_owned(), kind: kind.to_owned(), network: None, node: None, what };
    store.record_events(&[event]).await?;
    Ok(match started {
        Started::Yes => Outcome::Started(name),
        Started::Overtaken => Outcome::Waiting,
        Started::Rejected(why) => Outcome::Rejected(name, why),
    })
}

/// Whether `then` is less than `interval` away from `now`. A little in the future is another machine's clock; far in
/// the future is of a clock that was set back since, and must not hold the next deployment up until then.
fn is_within(then: Timestamp, now: Timestamp, interval: Duration) -> bool {
    now.duration_since(then).unsigned_abs() < interval
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use nodeweir_domain::config::ProxyKind;
    use nodeweir_domain::fleet::roster::Rosters;
    use nodeweir_store::sqlite::SqliteStore;

    use super::*;
    use crate::edges::{Etag, ServiceState};

    /// An object and a service where, whenever one run reads the object, another one has meanwhile published and
    /// started the next revision.
    #[derive(Default)]
    struct Overtaking {
        starts: AtomicU64,
    }

    fn revision(seq: u64) -> Revision {
        let (at, body) = (Timestamp::UNIX_EPOCH, format!("# {seq}\n"));
        Revision { seq, proxy: ProxyKind::Nginx, at, reason: String::new(), rosters: Rosters::new(), body }
    }

    impl PublishedObject for Overtaking {
        async fn get(&self) -> Result<Option<(Etag, String)>, EdgeError> {
            let seq = self.starts.fetch_add(1, Ordering::Relaxed);
            Ok(Some((Etag(seq.to_string()), revision(seq).compose())))
        }

        async fn put(&self, _: Option<&Etag>, _: &str) -> Result<bool, EdgeError> {
            Ok(false)
        }
    }

    impl Service for Overtaking {
        async fn state(&self) -> Result<ServiceState, EdgeError> {
            let starts = self.starts.load(Ordering::Relaxed);
            Ok(ServiceState { starts, running: Some(revision(starts).name()), ..ServiceState::default() })
        }

        async fn start(&self, seen: &ServiceState, _: &Revision, _: &str) -> Result<Started, EdgeError> {
            Ok(if seen.starts == self.starts.load(Ordering::Relaxed) { Started::Yes } else { Started::Overtaken })
        }
    }

    #[tokio::test]
    async fn what_was_replaced_while_it_was_read_is_not_started_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let text = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}";
        let config = Config::read(text).unwrap();
        let edge = Overtaking::default();
        let outcome = run(&store, &edge, &edge, &config, Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(!matches!(outcome, Outcome::Started(_)), "{outcome:?}");
    }

    #[test]
    fn a_deployment_started_by_a_clock_that_was_fast_does_not_hold_up_the_next_one() {
        let now = Timestamp::constant(1_700_000_000, 0);
        let interval = Duration::from_secs(600);
        for (seconds, is_recent) in [(-601, false), (-600, false), (-599, true), (0, true), (5, true), (600, false)] {
            assert_eq!(
                is_within(now + jiff::SignedDuration::from_secs(seconds), now, interval),
                is_recent,
                "{seconds}"
            );
        }
    }
}
