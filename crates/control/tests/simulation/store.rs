//! The store in memory, under the same conditions as the real ones.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::fleet::judge::{Health, Reason, Seen, State as Judged, Status};
use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, NodeName};
use nodeweir_store::{Event, FleetStore, RevisionSummary, StoreError, Written};

use crate::edges::{Edges, Part};
use crate::sabotage::Sabotage;
use crate::world::State;

/// Key of an item: network and name, as written.
pub(crate) type Key = (String, String);

pub(crate) fn key(item: &Item) -> Key {
    (item.network.clone(), item.node.clone())
}

/// All that the store holds but events, which nothing depends on.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) items: BTreeMap<Key, Item>,
    pub(crate) health: BTreeMap<NetworkId, Health>,
    pub(crate) pin: Option<Pin>,
    /// The history, with each revision's name.
    pub(crate) revisions: BTreeMap<u64, (String, Revision)>,
}

impl Edges {
    async fn stored<T>(&self, what: &str, work: impl FnOnce(&mut State) -> T + Send) -> Result<T, StoreError> {
        let away = |why| StoreError::Unavailable { place: "simulation".to_owned(), why };
        self.call(Part::Store, what, work).await.map_err(away)
    }

    /// A write that takes effect if `is_as_seen`.
    async fn write_if(
        &self,
        what: &str,
        is_as_seen: impl FnOnce(&State) -> bool + Send,
        write: impl FnOnce(&mut State) + Send,
    ) -> Result<Written, StoreError> {
        self.stored(what, |state| {
            if !is_as_seen(state) && state.sabotage != Sabotage::IgnoredConditions {
                return Written::Lost;
            }
            write(state);
            state.changed(Some(self.run));
            Written::Done
        })
        .await
    }
}

/// The list as a run gets to see it.
fn shown_items(state: &State) -> Vec<Item> {
    let mut items: Vec<Item> = state.table.items.values().cloned().collect();
    match state.sabotage {
        Sabotage::ForgottenCordons => items.iter_mut().for_each(|item| drop(item.attributes.remove("cordon"))),
        Sabotage::StaleItems => {
            // Whatever was removed since is still there.
            let gone = state.ledger.removed.iter().filter(|item| !state.table.items.contains_key(&key(item)));
            items.extend(gone.cloned());
        }
        Sabotage::ContagiousGarbage if state.listed().rejected.iter().any(|item| item.network != "polygon") => {
            items.retain(|item| item.network != "polygon");
        }
        _ => {}
    }
    items
}

/// Health as a run gets to see it.
fn shown_health(state: &State) -> BTreeMap<NetworkId, Health> {
    let mut health = state.table.health.clone();
    if state.sabotage == Sabotage::ForgottenChains {
        for status in health.values_mut().flat_map(|health| health.statuses.values_mut()) {
            if matches!(status.reason, Some(Reason::WrongChain { .. })) {
                (status.state, status.reason) = (Judged::Healthy, None);
            }
        }
    }
    health
}

impl FleetStore for Edges {
    async fn items(&self) -> Result<Vec<Item>, StoreError> {
        self.stored("read items", |state| {
            let (items, listed) = (state.table.items.values().cloned().collect(), state.listed());
            let shown = shown_items(state);
            let record = state.run(self.run);
            record.reads += 1;
            record.items = Some((record.reads, items, listed));
            shown
        })
        .await
    }

    async fn put_item(&self, seen: Option<&Item>, item: &Item) -> Result<Written, StoreError> {
        let is_as_seen = |state: &State| state.table.items.get(&key(item)) == seen;
        self.write_if("put item", is_as_seen, |state| {
            state.check_item(item);
            state.table.items.insert(key(item), item.clone());
            state.writes.items += 1;
        })
        .await
    }

    async fn remove_item(&self, seen: &Item) -> Result<Written, StoreError> {
        let is_as_seen = |state: &State| state.table.items.get(&key(seen)) == Some(seen);
        self.write_if("remove item", is_as_seen, |state| {
            state.table.items.remove(&key(seen));
            state.writes.items += 1;
        })
        .await
    }

    async fn health(&self) -> Result<BTreeMap<NetworkId, Health>, StoreError> {
        self.stored("read health", |state| {
            let (health, shown) = (state.table.health.clone(), shown_health(state));
            state.run(self.run).health = health;
            shown
        })
        .await
    }

    async fn put_seen(&self, network: &NetworkId, last: Option<Timestamp>, seen: &Seen) -> Result<Written, StoreError> {
        // Noted whatever becomes of it: one network's failure must not keep the others from being tried.
        self.world.state().run(self.run).ticked.insert(network.clone());
        let tick = |state: &State| state.table.health.get(network).and_then(|health| health.seen.tick);
        self.write_if(
            "put seen",
            |state| tick(state) == last,
            |state| {
                if tick(state) != last {
                    state.broken(format!("{network}: a tick was stored over one that it had not seen"));
                }
                state.table.health.entry(network.clone()).or_default().seen = seen.clone();
            },
        )
        .await
    }

    async fn put_status(
        &self,
        network: &NetworkId,
        node: &NodeName,
        seen: Option<&Status>,
        status: Option<&Status>,
    ) -> Result<Written, StoreError> {
        let found = |state: &State| state.table.health.get(network)?.statuses.get(node).cloned();
        self.write_if(
            "put status",
            |state| found(state).as_ref() == seen,
            |state| {
                let statuses = &mut state.table.health.entry(network.clone()).or_default().statuses;
                match status {
                    Some(status) => drop(statuses.insert(node.clone(), status.clone())),
                    None => drop(statuses.remove(node)),
                }
                state.writes.statuses += 1;
            },
        )
        .await
    }

    async fn pin(&self) -> Result<Option<Pin>, StoreError> {
        self.stored("read pin", |state| {
            let pin = state.table.pin.clone();
            state.run(self.run).pin.clone_from(&pin);
            pin
        })
        .await
    }

    async fn put_pin(&self, seen: Option<&Pin>, pin: Option<&Pin>) -> Result<Written, StoreError> {
        self.write_if(
            "put pin",
            |state| state.table.pin.as_ref() == seen,
            |state| {
                state.check_unpin(self, pin);
                state.table.pin = pin.cloned();
                state.writes.pins += 1;
            },
        )
        .await
    }

    async fn record_revision(&self, revision: &Revision) -> Result<(), StoreError> {
        self.stored("record revision", |state| {
            if state.sabotage != Sabotage::ForgottenHistory {
                let entry = || (revision.name(), revision.clone());
                state.table.revisions.entry(revision.seq).or_insert_with(entry);
                state.writes.revisions += 1;
                state.changed(Some(self.run));
            }
        })
        .await
    }

    async fn revisions(&self, most: u32) -> Result<Vec<RevisionSummary>, StoreError> {
        let summary = |(name, revision): &(String, Revision)| RevisionSummary {
            seq: revision.seq,
            name: name.clone(),
            at: revision.at,
            reason: revision.reason.clone(),
        };
        let newest =
            |state: &mut State| state.table.revisions.values().rev().take(most as usize).map(summary).collect();
        self.stored("read revisions", newest).await
    }

    async fn revision(&self, seq: u64) -> Result<Option<Revision>, StoreError> {
        self.stored("read revision", |state| state.table.revisions.get(&seq).map(|(_, revision)| revision.clone()))
            .await
    }

    async fn record_events(&self, events: &[Event]) -> Result<(), StoreError> {
        let count = u32::try_from(events.len()).unwrap();
        self.stored("record events", |state| state.writes.events += count).await
    }

    async fn events(&self, _: u32) -> Result<Vec<Event>, StoreError> {
        Ok(Vec::new())
    }
}
