//! The flow *publish*: plan, and put the wanted revision where proxies read it.

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::inspect::Finding;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::plan::{Plan, Step, World, plan};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::{Event, FleetStore, StoreError};

use crate::edges::{EdgeError, Etag, PublishedObject};
use crate::listing;

/// How often a run starts again because somebody else published meanwhile.
const ATTEMPTS: u32 = 5;

/// What a run of the flow came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What is published is what should be.
    Unchanged {
        /// The revision's name.
        name: String,
        /// What there is to say all the same.
        findings: Vec<Finding>,
    },
    /// A new revision was published.
    Published {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// What there is to say about it.
        findings: Vec<Finding>,
    },
    /// What should be published must not be; the last good one stays.
    Refused(Vec<Finding>),
}

/// Why a run failed. The next run repeats it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The published object.
    #[error(transparent)]
    Object(#[from] EdgeError),
    /// Others published faster, time and again.
    #[error("publishing was overtaken {ATTEMPTS} times; the next run tries again")]
    Overtaken,
}

/// What a plan was made from.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What is published, or the newest of the history where that cannot be read.
    pub published: Option<Revision>,
    /// The version that a new revision replaces.
    pub etag: Option<Etag>,
    /// The rollback in force, ended or not.
    pub pin: Option<Pin>,
    /// The highest number that is taken.
    pub newest: u64,
    /// What is published and missing in the history, because a run died between the two.
    pub unrecorded: bool,
}

/// Plans without doing anything.
pub async fn look<S: FleetStore, O: PublishedObject>(
    store: &S,
    object: &O,
    config: &Config,
    now: Timestamp,
) -> Result<Planned, PublishError> {
    // The version is read first: whatever changes later is either seen below or makes the put fail.
    let (etag, text) = object.get().await?.unzip();
    let readable = text.and_then(|text| Revision::parse(&text).ok());
    let is_intact = readable.is_some();
    let newest = store.revisions(1).await?.first().map_or(0, |revision| revision.seq);
    let published = match readable {
        Some(revision) => Some(revision),
        None if newest > 0 => match store.revision(newest).await {
            // As good as none: an entry of the history that nobody can read must not stop publishing for ever.
            Err(StoreError::Unreadable { .. }) => None,
            read => read?,
        },
        None => None,
    };
    let listed = listing::read(store, config).await?;
    let health = store.health().await?;
    let pin = store.pin().await?;
    let world = World {
        config,
        listed: &listed,
        health: &health,
        published: published.as_ref(),
        is_intact,
        pin: pin.as_ref(),
        now,
    };
    let plan = plan(world);
    let unrecorded = published.as_ref().is_some_and(|revision| revision.seq > newest);
    let newest = newest.max(published.as_ref().map_or(0, |revision| revision.seq));
    Ok(Planned { plan, published, etag, pin, newest, unrecorded })
}

/// Runs the flow once.
pub async fn run<S: FleetStore, O: PublishedObject>(
    store: &S,
    object: &O,
    config: &Config,
    now: Timestamp,
) -> Result<Outcome, PublishError> {
    let mut outcome = None;
    for _ in 0..ATTEMPTS {
        let Planned { plan, published, etag, pin, newest, unrecorded } = look(store, object, config, now).await?;
        // Before it is replaced, or it would be lost.
        if let Some(published) = published.as_ref().filter(|_| unrecorded) {
            store.record_revision(published).await?;
        }
        if let Some(why) = &plan.released {
            // Lost: somebody replaced the rollback meanwhile; what is planned here without it is replaced next time.
            let _ = store.put_pin(pin.as_ref(), None).await?;
            store.record_events(&[event(now, "rollback", format!("rollback ended: {why}"))]).await?;
        }
        match plan.step {
            Step::Refuse => return Ok(Outcome::Refused(plan.findings)),
            Step::Nothing => {
                let Some(published) = published else { continue };
                let unchanged = Outcome::Unchanged { name: published.name(), findings: plan.findings };
                return Ok(outcome.unwrap_or(unchanged));
            }
            Step::Publish { reason } => {
                let revision = Revision {
                    seq: newest.saturating_add(1),
                    proxy: config.proxy.kind,
                    at: now,
                    reason,
                    rosters: plan.rosters,
                    body: plan.body,
                };
                if !object.put(etag.as_ref(), &revision.compose()).await? {
                    continue;
                }
                store.record_revision(&revision).await?;
                let name = revision.name();
                store.record_events(&[event(now, "publish", format!("revision {name}: {}", revision.reason))]).await?;
                // And once more from the start: an edit that came after the list was read, and whose own run found
                // nothing to do yet, would otherwise wait for the next schedule.
                outcome = Some(Outcome::Published { name, reason: revision.reason, findings: plan.findings });
            }
        }
    }
    outcome.ok_or(PublishError::Overtaken)
}

fn event(at: Timestamp, kind: &str, what: String) -> Event {
    Event { at, who: "publish".to_owned(), kind: kind.to_owned(), network: None, node: None, what }
}

#[cfg(test)]
mod tests {
    use nodeweir_store::sqlite::SqliteStore;

    use super::*;
    use crate::folder::FolderObject;

    #[tokio::test]
    async fn damage_to_file_and_history_at_once_is_mended_by_publishing() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        let store = SqliteStore::open(&state).unwrap();
        let object = FolderObject::open(folder.path()).unwrap();
        let text = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}";
        let config = Config::read(text).unwrap();
        let publish = async || run(&store, &object, &config, Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(matches!(publish().await, Outcome::Published { .. }));
        assert!(matches!(publish().await, Outcome::Unchanged { .. }));

        let (etag, _) = object.get().await.unwrap().unwrap();
        assert!(object.put(Some(&etag), "events {}").await.unwrap());
        let damaged = rusqlite::Connection::open(&state).unwrap();
        damaged.execute("UPDATE revisions SET text = 'events {}'", []).unwrap();
        assert!(matches!(publish().await, Outcome::Published { name, .. } if name.starts_with("2-")));
        assert!(matches!(publish().await, Outcome::Unchanged { .. }));
    }
}
