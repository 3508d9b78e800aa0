//! Keys.
//!
//! A key stands in a partition of its own, so that the look-up is one read, spread over the whole table. It is a
//! consistent one, for one read unit instead of a half: others may be late by any time, and a revocation must be seen
//! when it was answered, however long the gate then remembers what it saw. Beside it, in its project's partition, one item
//! lists it and one holds its name while it is not revoked. All of them change together.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Each, StoreError, Written};

use super::super::transaction::{self, Outcome};
use super::super::{DynamoStore, Expression, Place, Query, Row, parse, string, text, to_text};
use crate::packed::pack;

/// Sort key of a key, and start of what lists it.
const KEY: &str = "key";
const LISTED: &str = "key#";
/// How often what another version of the program wrote is read, and written over as it stands there.
const LOOKS: usize = 3;

fn partition(digest: &KeyDigest) -> String {
    format!("{LISTED}{digest}")
}

fn of_project(project: &ProjectId) -> String {
    format!("keys#{project}")
}

fn read(store: &DynamoStore, row: &Row) -> Result<Key, StoreError> {
    let kind = string(row, "kind").unwrap_or_default();
    let digest = kind.strip_prefix(LISTED).unwrap_or_default();
    let id = digest.get(..12).unwrap_or(digest);
    let bad = |why: String| DynamoStore::unreadable(&store.tables.gate, "a key", format!("{id}: {why}"));
    let key: Key = parse(row).map_err(bad)?;
    if partition(&key.digest) == kind { Ok(key) } else { Err(bad(format!("it says that it is {}", key.id()))) }
}

pub(super) async fn find(store: &DynamoStore, digest: &KeyDigest) -> Result<Option<Key>, StoreError> {
    store.get(store.in_gate(&partition(digest), KEY)).await?.map(|row| read(store, &row)).transpose()
}

pub(super) async fn find_each(store: &DynamoStore, digests: &[KeyDigest]) -> Each<Option<Key>> {
    let partitions: Vec<String> = digests.iter().map(partition).collect();
    let places: Vec<_> = partitions.iter().map(|partition| store.in_gate(partition, KEY)).collect();
    store.find_each(&places, |row| read(store, row)).await
}

pub(super) async fn of(store: &DynamoStore, project: &ProjectId) -> Result<Vec<Key>, StoreError> {
    let table = &store.tables.gate;
    let listed = Query::new(table, "kind", &of_project(project)).starting("id", LISTED);
    let listed = store.query(&listed, u32::MAX).await?;
    let places = listed.iter().filter_map(|row| string(row, "id")).map(|kind| store.in_gate(kind, KEY).key());
    let rows = store.get_all(table, places.collect()).await?;
    let keys = rows.iter().filter_map(|row| read(store, row).ok()).filter(|key| key.project == *project);
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_by(|one, other| (&one.name, one.created, one.digest).cmp(&(&other.name, other.created, other.digest)));
    Ok(keys)
}

pub(super) async fn put(store: &DynamoStore, seen: Option<&Key>, key: &Key) -> Result<Written, StoreError> {
    if seen.is_some_and(|seen| !is_same(seen, key)) {
        return Ok(Written::Lost);
    }
    write(store, &[Change { seen, key }]).await
}

pub(super) async fn replace(store: &DynamoStore, seen: &Key, old: &Key, new: &Key) -> Result<Written, StoreError> {
    let is_taken =
        old.revoked.is_none() && new.revoked.is_none() && (&old.project, &old.name) == (&new.project, &new.name);
    if !is_same(seen, old) || is_taken || old.digest == new.digest {
        return Ok(Written::Lost);
    }
    write(store, &[Change { seen: Some(seen), key: old }, Change { seen: None, key: new }]).await
}

/// Whether both are states of one key.
fn is_same(one: &Key, other: &Key) -> bool {
    (one.digest, &one.project) == (other.digest, &other.project)
}

/// What one key was and shall be.
struct Change<'a> {
    seen: Option<&'a Key>,
    key: &'a Key,
}

/// Makes all changes or none.
async fn write(store: &DynamoStore, changes: &[Change<'_>]) -> Result<Written, StoreError> {
    let kinds: Vec<String> = changes.iter().map(|change| partition(&change.key.digest)).collect();
    let places: Vec<Place<'_>> = kinds.iter().map(|kind| store.in_gate(kind, KEY)).collect();
    let spelled = |(change, place): (&Change<'_>, &Place<'_>)| change.seen.map(|seen| place.row(pack(&to_text(seen))));
    let mut before: Vec<Option<Row>> = changes.iter().zip(&places).map(spelled).collect();
    let beside = beside(store, changes);
    for _ in 0..LOOKS {
        let mut writes = Vec::with_capacity(changes.len() + beside.len());
        for ((change, place), before) in changes.iter().zip(&places).zip(&before) {
            let row = place.row(pack(&to_text(change.key)));
            writes.push(transaction::put(*place, row, Expression::still(*place, before.as_ref())));
        }
        writes.extend(beside.iter().cloned());
        let refused = match store.transact(&store.tables.gate, writes).await? {
            Outcome::Done => return Ok(Written::Done),
            Outcome::Refused(refused) => refused,
            Outcome::Impossible(why) => return Err(DynamoStore::unreadable(&store.tables.gate, "a key", why)),
        };
        let mut is_spelled = true;
        for index in refused.into_iter().filter(|index| *index < changes.len()) {
            let row = store.get(places[index]).await?;
            if row.as_ref().map(|row| read(store, row)).transpose()?.as_ref() != changes[index].seen {
                return Ok(Written::Lost);
            }
            before[index] = row;
            is_spelled = false;
        }
        if is_spelled {
            // So it is a name.
            return Ok(Written::Lost);
        }
    }
    Ok(Written::Lost)
}

/// What changes in the projects' partitions: that new keys are listed, and who has which name.
fn beside(store: &DynamoStore, changes: &[Change<'_>]) -> Vec<TransactWriteItem> {
    let mut names: BTreeMap<(&ProjectId, &str), [Option<KeyDigest>; 2]> = BTreeMap::new();
    for Change { seen, key } in changes {
        for (when, key) in [*seen, Some(*key)].into_iter().enumerate() {
            if let Some(key) = key.filter(|key| key.revoked.is_none()) {
                names.entry((&key.project, key.name.as_str())).or_default()[when] = Some(key.digest);
            }
        }
    }
    let mut writes = Vec::new();
    for Change { key, .. } in changes.iter().filter(|change| change.seen.is_none()) {
        let (project, id) = (of_project(&key.project), partition(&key.digest));
        let place = store.in_gate(&project, &id);
        writes.push(transaction::put(place, place.key(), Expression::still(place, None)));
    }
    for ((project, name), [before, after]) in names {
        let (project, id) = (of_project(project), format!("name#{name}"));
        let place = store.in_gate(&project, &id);
        let held_by = |digest: KeyDigest| Expression::is_free_or(place, "digest", &digest.to_string());
        match (before, after) {
            (Some(before), None) => writes.push(transaction::delete(place, held_by(before))),
            (before, Some(after)) if before != Some(after) => {
                let mut row = place.key();
                row.insert("digest".to_owned(), text(after.to_string()));
                writes.push(transaction::put(place, row, held_by(before.unwrap_or(after))));
            }
            _ => {}
        }
    }
    writes
}
