//! [`FleetStore`] over the three tables.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use nodeweir_domain::fleet::judge::{Health, Seen, Status};
use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, NodeName};
use nodeweir_store::{Event, FleetStore, Kept, RevisionSummary, StoreError, Written};
use serde_json::Value;

use super::batch::{delete, put};
use super::{DynamoStore, Row, ordered, read, string, text, to_text, written};
use crate::packed::{deflate, inflate, pack};
use crate::value::{from_json, to_json};

/// Attributes of an item that mean something. A writer that saw none of one says so in its condition.
const ATTRIBUTES: [&str; 7] = ["url", "role", "weight", "ws_url", "host", "cordon", "note"];

/// Start of a status's sort key in `health`; the stream's filter knows it too.
const STATUS: &str = "status#";
/// Sort key of a network's last tick.
const SEEN: &str = "seen";

/// Partitions of `history`; the pin's is its sort key too, and the stream's filter knows it.
const PIN: &str = "pin";
const REVISION: &str = "revision";
const TEXT: &str = "text";
const EVENT: &str = "event";

/// How long DynamoDB keeps events.
const EVENTS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Bytes of a revision's text in one item, which holds 400 KB in all.
const PART: usize = 350_000;

impl FleetStore for DynamoStore {
    async fn items(&self) -> Result<Vec<Item>, StoreError> {
        let mut items: Vec<Item> = self.scan(&self.tables.nodes).await?.iter().map(to_item).collect();
        items.sort_unstable_by(|one, other| (&one.network, &one.node).cmp(&(&other.network, &other.node)));
        Ok(items)
    }

    async fn put_item(&self, seen: Option<&Item>, item: &Item) -> Result<Written, StoreError> {
        let place = self.in_nodes(&item.network, &item.node);
        let Some(seen) = seen else {
            let mut row = place.key();
            row.extend(item.attributes.iter().map(|(name, value)| (name.clone(), from_json(value))));
            return self.swap(place, None, Some(row)).await;
        };
        if seen == item {
            // Nothing to write; whether it is as it was seen is answered all the same.
            let row = self.get(place).await?;
            let same = row.is_some_and(|row| to_item(&row) == *seen);
            return Ok(if same { Written::Done } else { Written::Lost });
        }
        // Only what differs is written, so that an attribute which somebody adds meanwhile is never lost.
        let changed = item.attributes.iter().filter(|(name, value)| seen.attributes.get(*name) != Some(value));
        let mut named = Named::default();
        let set: Vec<String> =
            changed.map(|(name, value)| format!("{} = {}", named.name(name), named.value(value))).collect();
        let gone = seen.attributes.keys().filter(|name| !item.attributes.contains_key(*name));
        let remove: Vec<String> = gone.map(|name| named.name(name)).collect();
        let condition = named.as_seen(seen, item.attributes.keys());
        let clause = |verb: &str, parts: &[String]| match parts {
            [] => String::new(),
            parts => format!("{verb} {} ", parts.join(", ")),
        };
        let update = clause("SET", &set) + &clause("REMOVE", &remove);
        let sent = self.client.update_item().table_name(place.table).set_key(Some(place.key()));
        let sent = sent
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(named.names));
        let sent = sent.set_expression_attribute_values(Some(named.values).filter(|values| !values.is_empty()));
        written(place.table, sent.send().await)
    }

    async fn remove_item(&self, seen: &Item) -> Result<Written, StoreError> {
        let place = self.in_nodes(&seen.network, &seen.node);
        let mut named = Named::default();
        let condition = named.as_seen(seen, []);
        let sent = self.client.delete_item().table_name(place.table).set_key(Some(place.key()));
        let sent = sent.condition_expression(condition).set_expression_attribute_names(Some(named.names));
        let sent = sent.set_expression_attribute_values(Some(named.values).filter(|values| !values.is_empty()));
        written(place.table, sent.send().await)
    }

    async fn health(&self) -> Result<BTreeMap<NetworkId, Health>, StoreError> {
        let mut health: BTreeMap<NetworkId, Health> = BTreeMap::new();
        for row in self.scan(&self.tables.health).await? {
            let Some((network, item)) = string(&row, "network").zip(string(&row, "item")) else { continue };
            let Ok(network) = network.parse::<NetworkId>() else { continue };
            if item == SEEN {
                if let Some(seen) = read(&row) {
                    health.entry(network).or_default().seen = seen;
                }
            } else if let Some(Ok(node)) = item.strip_prefix(STATUS).map(str::parse::<NodeName>)
                && let Some(status) = read(&row)
            {
                health.entry(network).or_default().statuses.insert(node, status);
            }
        }
        Ok(health)
    }

    async fn put_seen(&self, network: &NetworkId, last: Option<Timestamp>, seen: &Seen) -> Result<Written, StoreError> {
        let place = self.in_health(network.as_str(), SEEN);
        let mut row = place.row(pack(&to_text(seen)));
        row.extend(seen.tick.map(|tick| ("tick".to_owned(), text(tick.to_string()))));
        // One write in the usual case.
        let condition = if last.is_some() { "tick = :tick" } else { "attribute_not_exists(tick)" };
        let values = last.map(|last| HashMap::from([(":tick".to_owned(), text(last.to_string()))]));
        let sent = self.client.put_item().table_name(place.table).set_item(Some(row.clone()));
        let sent = sent.condition_expression(condition).set_expression_attribute_values(values).send().await;
        if written(place.table, sent)? == Written::Done {
            return Ok(Written::Done);
        }
        // A row that cannot be read has no tick for readers, whatever the attribute says, and must not stay for ever.
        let before = self.get(place).await?;
        if before.as_ref().and_then(|row| read::<Seen>(row)?.tick) != last {
            return Ok(Written::Lost);
        }
        self.swap(place, before.as_ref(), Some(row)).await
    }

    async fn put_status(
        &self,
        network: &NetworkId,
        node: &NodeName,
        seen: Option<&Status>,
        status: Option<&Status>,
    ) -> Result<Written, StoreError> {
        let item = format!("{STATUS}{node}");
        let place = self.in_health(network.as_str(), &item);
        let row = status.map(|status| place.row(pack(&to_text(status))));
        self.replace(place, seen, row).await
    }

    async fn pin(&self) -> Result<Option<Pin>, StoreError> {
        Ok(self.get(self.in_history(PIN, PIN)).await?.as_ref().and_then(read))
    }

    async fn put_pin(&self, seen: Option<&Pin>, pin: Option<&Pin>) -> Result<Written, StoreError> {
        let place = self.in_history(PIN, PIN);
        let row = pin.map(|pin| place.row(pack(&to_text(pin))));
        self.replace(place, seen, row).await
    }

    async fn record_revision(&self, revision: &Revision) -> Result<(), StoreError> {
        let newest = self.newest(REVISION, None, 1).await?.first().and_then(number).unwrap_or(0);
        let oldest = newest.max(revision.seq).saturating_sub(u64::from(Kept::REVISIONS)).saturating_add(1);
        if revision.seq < oldest {
            return Ok(());
        }
        let (id, name) = (ordered(revision.seq), revision.name());
        let place = self.in_history(REVISION, &id);
        if self.get(place).await?.is_none() {
            // The text goes first, under the revision's full name, which no other text has.
            let packed = deflate(&revision.compose());
            let parts: Vec<&[u8]> = packed.chunks(PART).collect();
            let puts = parts.iter().enumerate().map(|(index, part)| {
                let id = part_id(revision.seq, &name, index);
                put(self.in_history(TEXT, &id).row(AttributeValue::B(Blob::new(*part))))
            });
            self.write_all(&self.tables.history, puts.collect()).await?;
            let mut row = place.key();
            row.extend(
                [("name", &name), ("at", &revision.at.to_string()), ("reason", &revision.reason)]
                    .map(|(key, value)| (key.to_owned(), text(value))),
            );
            row.insert("parts".to_owned(), AttributeValue::N(parts.len().to_string()));
            // Lost: another run recorded it meanwhile.
            let _ = self.swap(place, None, Some(row)).await?;
        }
        if oldest > 1 {
            self.forget_revisions(oldest - 1).await?;
        }
        Ok(())
    }

    async fn revisions(&self, most: u32) -> Result<Vec<RevisionSummary>, StoreError> {
        let rows = self.newest(REVISION, None, most).await?;
        let summary = |row: &Row| {
            let [name, reason] = ["name", "reason"].map(|key| string(row, key).map(str::to_owned));
            let at = string(row, "at")?.parse().ok()?;
            Some(RevisionSummary { seq: number(row)?, name: name?, at, reason: reason? })
        };
        Ok(rows.iter().filter_map(summary).collect())
    }

    async fn revision(&self, seq: u64) -> Result<Option<Revision>, StoreError> {
        let id = ordered(seq);
        let Some(row) = self.get(self.in_history(REVISION, &id)).await? else { return Ok(None) };
        let unreadable = |why: String| StoreError::Unreadable {
            place: format!("DynamoDB table {}", self.tables.history),
            what: "a revision",
            why,
        };
        let Some((name, parts)) = string(&row, "name").zip(parts(&row)) else {
            return Err(unreadable(format!("the row of revision {seq} has no `name` or no `parts`")));
        };
        let mut packed = Vec::new();
        for index in 0..parts {
            let id = part_id(seq, name, index);
            let part = self.get(self.in_history(TEXT, &id)).await?;
            match part.as_ref().and_then(|part| part.get("value")?.as_b().ok()) {
                Some(bytes) => packed.extend_from_slice(bytes.as_ref()),
                None => return Err(unreadable(format!("part {id} of its text is missing"))),
            }
        }
        let text = inflate(&packed).ok_or_else(|| unreadable("its text cannot be unpacked".to_owned()))?;
        Revision::parse(&text).map(Some).map_err(|error| unreadable(error.to_string()))
    }

    async fn record_events(&self, events: &[Event]) -> Result<(), StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = AttributeValue::N((now + EVENTS_KEPT).as_secs().to_string());
        // In the order of recording; the chance part keeps two that record in the same instant apart.
        let batch = format!("{:020}-{:08x}", now.as_nanos(), fastrand::u32(..));
        let puts = events.iter().enumerate().map(|(index, event)| {
            let id = format!("{batch}-{index:06}");
            let mut row = self.in_history(EVENT, &id).row(pack(&to_text(event)));
            row.insert("expires".to_owned(), expires.clone());
            put(row)
        });
        self.write_all(&self.tables.history, puts.collect()).await
    }

    async fn events(&self, most: u32) -> Result<Vec<Event>, StoreError> {
        let rows = self.newest(EVENT, None, most).await?;
        Ok(rows.iter().filter_map(read).collect())
    }
}

impl DynamoStore {
    /// Removes revisions up to a number, with their texts.
    async fn forget_revisions(&self, last: u64) -> Result<(), StoreError> {
        let old = self.newest(REVISION, Some(&ordered(last)), u32::MAX).await?;
        let gone = old.iter().flat_map(|row| {
            let (seq, name) = (number(row).unwrap_or(0), string(row, "name").unwrap_or_default());
            let texts = (0..parts(row).unwrap_or(0)).map(move |index| (TEXT, part_id(seq, name, index)));
            texts.chain(string(row, "id").map(|id| (REVISION, id.to_owned())))
        });
        let requests = gone.map(|(kind, id)| delete(self.in_history(kind, &id).key()));
        self.write_all(&self.tables.history, requests.collect()).await
    }
}

fn to_item(row: &Row) -> Item {
    let [network, node] = ["network", "node"].map(|key| string(row, key).unwrap_or_default().to_owned());
    let rest = row.iter().filter(|(name, _)| !["network", "node"].contains(&name.as_str()));
    Item { network, node, attributes: rest.map(|(name, value)| (name.clone(), to_json(value))).collect() }
}

/// A revision's number, from its sort key.
fn number(row: &Row) -> Option<u64> {
    string(row, "id")?.parse().ok()
}

/// In how many items its text is.
fn parts(row: &Row) -> Option<usize> {
    row.get("parts")?.as_n().ok()?.parse().ok()
}

fn part_id(seq: u64, name: &str, index: usize) -> String {
    format!("{}#{name}#{index:04}", ordered(seq))
}

/// Names and values of an expression: what people may write is never part of its text.
#[derive(Default)]
struct Named {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Named {
    fn name(&mut self, name: &str) -> String {
        if let Some((known, _)) = self.names.iter().find(|(_, of)| *of == name) {
            return known.clone();
        }
        let new = format!("#n{}", self.names.len());
        self.names.insert(new.clone(), name.to_owned());
        new
    }

    fn value(&mut self, value: &Value) -> String {
        let new = format!(":v{}", self.values.len());
        self.values.insert(new.clone(), from_json(value));
        new
    }

    /// That what is there is as it was seen: each attribute the same, and none that means something or is to be
    /// written beside them. DynamoDB cannot ask for "no others at all".
    fn as_seen<'a>(&mut self, seen: &'a Item, written: impl IntoIterator<Item = &'a String>) -> String {
        let mut parts = vec![format!("attribute_exists({})", self.name("network"))];
        for (name, value) in &seen.attributes {
            parts.push(format!("{} = {}", self.name(name), self.value(value)));
        }
        let mut absent: Vec<&str> = ATTRIBUTES.into_iter().chain(written.into_iter().map(String::as_str)).collect();
        absent.sort_unstable();
        absent.dedup();
        for name in absent.into_iter().filter(|name| !seen.attributes.contains_key(*name)) {
            parts.push(format!("attribute_not_exists({})", self.name(name)));
        }
        parts.join(" AND ")
    }
}
