//! [`FleetStore`] over SQLite. Each condition is part of the statement or checked inside the writing transaction.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::fleet::judge::{Health, Seen, Status};
use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, NodeName};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::{Map, Value};

use super::{SqliteStore, count_edit, put_single, single, text, to_json};
use crate::{Event, FleetStore, Kept, RevisionSummary, StoreError, Written};

type Row3 = (String, String, String);

fn rows3(tx: &Transaction<'_>, sql: &str) -> rusqlite::Result<Vec<Row3>> {
    tx.prepare_cached(sql)?.query_map([], |row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?)))?.collect()
}

/// The item under a key, as JSON text that compares equal for equal items.
fn item_text(tx: &Transaction<'_>, network: &str, node: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT attributes FROM nodes WHERE network = ?1 AND node = ?2";
    let found = tx.query_row(sql, [network, node], |row| text(row, 0)).optional()?;
    Ok(found.map(|found| to_json(&attributes(&found))))
}

/// What cannot be read as a mapping is given back as an attribute of its own, which validation then refuses by name:
/// a bad item is a finding, never a stop.
fn attributes(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => map,
        _ => Map::from_iter([("unreadable".to_owned(), Value::from(text))]),
    }
}

impl FleetStore for SqliteStore {
    async fn items(&self) -> Result<Vec<Item>, StoreError> {
        let rows =
            self.call(|tx| rows3(tx, "SELECT network, node, attributes FROM nodes ORDER BY network, node")).await?;
        Ok(rows
            .into_iter()
            .map(|(network, node, text)| Item { network, node, attributes: attributes(&text) })
            .collect())
    }

    async fn put_item(&self, seen: Option<&Item>, item: &Item) -> Result<Written, StoreError> {
        let seen = seen.map(|item| to_json(&item.attributes));
        let (network, node, text) = (item.network.clone(), item.node.clone(), to_json(&item.attributes));
        self.write(move |tx| {
            if item_text(tx, &network, &node)? != seen {
                return Ok(Written::Lost);
            }
            let sql = "INSERT OR REPLACE INTO nodes (network, node, attributes) VALUES (?1, ?2, ?3)";
            tx.execute(sql, [&network, &node, &text])?;
            count_edit(tx)?;
            Ok(Written::Done)
        })
        .await
    }

    async fn remove_item(&self, seen: &Item) -> Result<Written, StoreError> {
        let (network, node, text) = (seen.network.clone(), seen.node.clone(), to_json(&seen.attributes));
        self.write(move |tx| {
            if item_text(tx, &network, &node)?.as_ref() != Some(&text) {
                return Ok(Written::Lost);
            }
            tx.execute("DELETE FROM nodes WHERE network = ?1 AND node = ?2", [&network, &node])?;
            count_edit(tx)?;
            Ok(Written::Done)
        })
        .await
    }

    async fn health(&self) -> Result<BTreeMap<NetworkId, Health>, StoreError> {
        let (statuses, seen) = self
            .call(|tx| {
                let statuses = rows3(tx, "SELECT network, node, value FROM statuses")?;
                Ok((statuses, rows3(tx, "SELECT network, tick, value FROM seen")?))
            })
            .await?;
        let mut health: BTreeMap<NetworkId, Health> = BTreeMap::new();
        // A row that cannot be read is as good as none: the node is unknown and judged anew.
        for (network, node, value) in statuses {
            let key = network.parse().ok().zip(node.parse().ok());
            if let (Some((network, node)), Ok(status)) = (key, serde_json::from_str(&value)) {
                health.entry(network).or_default().statuses.insert(node, status);
            }
        }
        for (network, _, value) in seen {
            if let (Ok(network), Ok(seen)) = (network.parse(), serde_json::from_str(&value)) {
                health.entry(network).or_default().seen = seen;
            }
        }
        Ok(health)
    }

    async fn put_seen(&self, network: &NetworkId, last: Option<Timestamp>, seen: &Seen) -> Result<Written, StoreError> {
        let tick = seen.tick.map(|tick| tick.to_string()).unwrap_or_default();
        let (network, value) = (network.to_string(), to_json(seen));
        self.write(move |tx| {
            let sql = "SELECT value FROM seen WHERE network = ?1";
            let found = tx.query_row(sql, [&network], |row| text(row, 0)).optional()?;
            // Compared as it is read: a row that cannot be read, or has no tick, would otherwise never be replaced.
            let found = found.and_then(|value| serde_json::from_str::<Seen>(&value).ok()?.tick);
            if found != last {
                return Ok(Written::Lost);
            }
            let sql = "INSERT OR REPLACE INTO seen (network, tick, value) VALUES (?1, ?2, ?3)";
            tx.execute(sql, [&network, &tick, &value])?;
            Ok(Written::Done)
        })
        .await
    }

    async fn put_status(
        &self,
        network: &NetworkId,
        node: &NodeName,
        seen: Option<&Status>,
        status: Option<&Status>,
    ) -> Result<Written, StoreError> {
        let (network, node) = (network.to_string(), node.to_string());
        let (seen, value) = (seen.cloned(), status.map(to_json));
        self.write(move |tx| {
            let sql = "SELECT value FROM statuses WHERE network = ?1 AND node = ?2";
            let found = tx.query_row(sql, [&network, &node], |row| text(row, 0)).optional()?;
            let found = found.and_then(|value| serde_json::from_str::<Status>(&value).ok());
            if found != seen {
                return Ok(Written::Lost);
            }
            match value {
                Some(value) => {
                    let sql = "INSERT OR REPLACE INTO statuses (network, node, value) VALUES (?1, ?2, ?3)";
                    tx.execute(sql, [&network, &node, &value])?
                }
                None => tx.execute("DELETE FROM statuses WHERE network = ?1 AND node = ?2", [&network, &node])?,
            };
            Ok(Written::Done)
        })
        .await
    }

    async fn pin(&self) -> Result<Option<Pin>, StoreError> {
        self.single("pin").await
    }

    async fn put_pin(&self, seen: Option<&Pin>, pin: Option<&Pin>) -> Result<Written, StoreError> {
        let (seen, value) = (seen.cloned(), pin.map(to_json));
        self.write(move |tx| {
            let found = single(tx, "pin")?.and_then(|text| serde_json::from_str::<Pin>(&text).ok());
            if found != seen {
                return Ok(Written::Lost);
            }
            put_single(tx, "pin", value.as_deref())?;
            count_edit(tx)?;
            Ok(Written::Done)
        })
        .await
    }

    async fn record_revision(&self, revision: &Revision) -> Result<(), StoreError> {
        let (seq, name, at) = (revision.seq, revision.name(), revision.at.to_string());
        let (reason, text) = (revision.reason.clone(), revision.compose());
        self.write(move |tx| {
            let sql = "INSERT OR IGNORE INTO revisions (seq, name, at, reason, text) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(sql, params![seq.cast_signed(), name, at, reason, text])?;
            let sql = "DELETE FROM revisions WHERE seq <= (SELECT MAX(seq) FROM revisions) - ?1";
            tx.execute(sql, [Kept::REVISIONS])?;
            Ok(())
        })
        .await
    }

    async fn revisions(&self, most: u32) -> Result<Vec<RevisionSummary>, StoreError> {
        let rows: Vec<(i64, String, String, String)> = self
            .call(move |tx| {
                let mut sql =
                    tx.prepare_cached("SELECT seq, name, at, reason FROM revisions ORDER BY seq DESC LIMIT ?1")?;
                sql.query_map([most], |row| Ok((row.get(0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?)))?.collect()
            })
            .await?;
        let read = |(seq, name, at, reason): (i64, String, String, String)| {
            Some(RevisionSummary { seq: seq.cast_unsigned(), name, at: at.parse().ok()?, reason })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    async fn revision(&self, seq: u64) -> Result<Option<Revision>, StoreError> {
        let sql = "SELECT text FROM revisions WHERE seq = ?1";
        let found = self.call(move |tx| tx.query_row(sql, [seq.cast_signed()], |row| text(row, 0)).optional()).await?;
        let unreadable =
            |why: String| StoreError::Unreadable { place: self.path.display().to_string(), what: "a revision", why };
        found.map(|text| Revision::parse(&text).map_err(|error| unreadable(error.to_string()))).transpose()
    }

    async fn record_events(&self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let values: Vec<String> = events.iter().map(to_json).collect();
        self.write(move |tx| {
            for value in &values {
                tx.execute("INSERT INTO events (value) VALUES (?1)", [value])?;
            }
            let sql = "DELETE FROM events WHERE id <= (SELECT MAX(id) FROM events) - ?1";
            tx.execute(sql, [Kept::EVENTS])?;
            Ok(())
        })
        .await
    }

    async fn events(&self, most: u32) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<String> = self
            .call(move |tx| {
                let mut sql = tx.prepare_cached("SELECT value FROM events ORDER BY id DESC LIMIT ?1")?;
                sql.query_map([most], |row| text(row, 0))?.collect()
            })
            .await?;
        Ok(rows.iter().filter_map(|value| serde_json::from_str(value).ok()).collect())
    }
}
