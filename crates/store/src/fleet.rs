//! What the control path keeps, and under which conditions it may be changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::fleet::judge::{Health, Seen, Status};
use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, NodeName};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Whether a conditional write took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It did.
    Done,
    /// Somebody else was faster; what is there now is not what the writer had seen.
    Lost,
}

/// Something that happened and that a person may ask about later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who did it: a person, or the flow of this program.
    pub who: String,
    /// What kind of thing: `flip`, `edit`, `publish`, `rollout`, `reject`, `rollback`, `proxy`, `project`,
    /// `key`.
    pub kind: String,
    /// About which network, if about one.
    pub network: Option<String>,
    /// About which node, if about one.
    pub node: Option<String>,
    /// What, in words.
    pub what: String,
}

/// A revision in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSummary {
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub at: Timestamp,
    /// Why it exists.
    pub reason: String,
}

/// How much is kept of what happened: enough to explain a bad week, bounded so that a flapping fleet cannot fill a disk.
#[derive(Debug, Clone, Copy)]
pub struct Kept;

impl Kept {
    /// Revisions, newest first.
    pub const REVISIONS: u32 = 1_000;
    /// Events, newest first, in the embedded store; DynamoDB forgets them after 90 days.
    pub const EVENTS: u32 = 20_000;
}

/// The control path's state.
///
/// Every method may fail with [`StoreError`]; after a failure of a write it is unknown whether it took effect, and
/// doing it again is safe.
pub trait FleetStore: Send + Sync {
    /// All items of the node list, by network and name, exactly as written.
    fn items(&self) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send;

    /// Writes an item if what is there now equals `seen` (`None`: nothing is there).
    fn put_item(&self, seen: Option<&Item>, item: &Item) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Removes an item if it still equals `seen`.
    fn remove_item(&self, seen: &Item) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// The health of every network that has any.
    fn health(&self) -> impl Future<Output = Result<BTreeMap<NetworkId, Health>, StoreError>> + Send;

    /// Writes what a tick saw of a network if the last tick there is still `last`.
    fn put_seen(
        &self,
        network: &NetworkId,
        last: Option<Timestamp>,
        seen: &Seen,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Writes a node's status (`None` removes it) if what is there still equals `seen`.
    fn put_status(
        &self,
        network: &NetworkId,
        node: &NodeName,
        seen: Option<&Status>,
        status: Option<&Status>,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// The rollback in force.
    fn pin(&self) -> impl Future<Output = Result<Option<Pin>, StoreError>> + Send;

    /// Replaces the rollback in force if it still equals `seen`.
    fn put_pin(
        &self,
        seen: Option<&Pin>,
        pin: Option<&Pin>,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Adds a revision to the history; one that is there already stays as it is.
    fn record_revision(&self, revision: &Revision) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest `most` revisions, newest first.
    fn revisions(&self, most: u32) -> impl Future<Output = Result<Vec<RevisionSummary>, StoreError>> + Send;

    /// One revision of the history.
    fn revision(&self, seq: u64) -> impl Future<Output = Result<Option<Revision>, StoreError>> + Send;

    /// Adds events to the history.
    fn record_events(&self, events: &[Event]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest `most` events, newest first.
    fn events(&self, most: u32) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send;
}
