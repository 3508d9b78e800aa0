//! Many rows at once: each by itself, in any order, and without conditions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use nodeweir_store::StoreError;

use super::{DynamoStore, Place, Row, busy, string};

/// Writes that one batch may have.
const WRITES: usize = 25;
/// Reads that one batch may have.
const READS: usize = 100;
/// How often a batch's rest is sent again; DynamoDB leaves some undone when it is busy, and reads when they are large.
const TRIES: u32 = 8;

pub(super) fn put(row: Row) -> WriteRequest {
    // It fails only without an item.
    WriteRequest::builder().set_put_request(PutRequest::builder().set_item(Some(row)).build().ok()).build()
}

pub(super) fn delete(key: Row) -> WriteRequest {
    WriteRequest::builder().set_delete_request(DeleteRequest::builder().set_key(Some(key)).build().ok()).build()
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(25 << attempt)).await;
}

impl DynamoStore {
    /// Sends writes that need no condition, as many at once as DynamoDB takes, and again what it left undone.
    pub(super) async fn write_all(&self, table: &str, requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        for batch in requests.chunks(WRITES) {
            let mut rest = batch.to_vec();
            for attempt in 0.. {
                let send = self.client.batch_write_item().request_items(table, rest).send().await;
                let sent = send.map_err(|error| Self::unavailable(table, &error))?;
                rest = sent.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
                if rest.is_empty() {
                    break;
                }
                if attempt >= TRIES {
                    return Err(busy(table, "it is too busy to write"));
                }
                pause(attempt).await;
            }
        }
        Ok(())
    }

    /// What stands in these places of one table, in their order.
    pub(super) async fn get_each(&self, places: &[Place<'_>]) -> Result<Vec<Option<Row>>, StoreError> {
        let Some(first) = places.first() else { return Ok(Vec::new()) };
        let [partition, sort] = first.keys.map(|(name, _)| name);
        // None may be asked for twice.
        let asked: BTreeMap<_, _> =
            places.iter().map(|place| (place.keys.map(|(_, value)| value), place.key())).collect();
        let mut found = HashMap::new();
        for row in self.get_all(first.table, asked.into_values().collect()).await? {
            if let Some((partition, sort)) = string(&row, partition).zip(string(&row, sort)) {
                found.insert((partition.to_owned(), sort.to_owned()), row);
            }
        }
        let at = |place: &Place<'_>| place.keys.map(|(_, value)| value.to_owned());
        Ok(places.iter().map(|place| found.get(&at(place).into()).cloned()).collect())
    }

    /// The rows under these keys, consistently, in any order. What is not there is left out.
    pub(super) async fn get_all(&self, table: &str, keys: Vec<Row>) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for batch in keys.chunks(READS) {
            let mut rest = batch.to_vec();
            for attempt in 0.. {
                // It fails only without keys.
                let asked = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(rest)).build();
                let send = match asked {
                    Ok(asked) => self.client.batch_get_item().request_items(table, asked).send().await,
                    Err(_) => break,
                };
                let got = send.map_err(|error| Self::unavailable(table, &error))?;
                rows.extend(got.responses.and_then(|mut found| found.remove(table)).unwrap_or_default());
                let left = got.unprocessed_keys.and_then(|mut left| left.remove(table));
                rest = left.map(|left| left.keys).unwrap_or_default();
                if rest.is_empty() {
                    break;
                }
                if attempt >= TRIES {
                    return Err(busy(table, "it is too busy to read"));
                }
                pause(attempt).await;
            }
        }
        Ok(rows)
    }
}
