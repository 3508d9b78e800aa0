//! `FleetStore` over DynamoDB.
//!
//! People edit the table `nodes`, also with other programs, so its items have plain attributes. `health` and `history`
//! are this program's own: what a row means is JSON in its attribute `value`. A condition on such a row is on its very
//! bytes, as they were read a moment before: comparing what they mean would tie every version of the program to the
//! text that another one writes.

mod fleet;

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, WriteRequest};
use nodeweir_store::{StoreError, Written};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::{is_code, why};
use crate::packed::unpack;

pub(crate) type Row = HashMap<String, AttributeValue>;

/// Partition and only sort key of the last deployment's row in `history`.
const DEPLOYMENT: &str = "deployment";
/// Writes that one batch may have.
const BATCH: usize = 25;
/// How often a batch's rest is sent again; DynamoDB leaves some undone when it is busy.
const BATCH_TRIES: u32 = 8;

/// The names of the tables.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The node list: partition key `network`, sort key `node`.
    pub nodes: String,
    /// Health: partition key `network`, sort key `item`.
    pub health: String,
    /// Revisions, events, the rollback in force, the last deployment: partition key `kind`, sort key `id`.
    pub history: String,
}

/// The control path's state in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    tables: Tables,
}

/// Where a row is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    table: &'a str,
    /// The names and values of its two keys.
    keys: [(&'static str, &'a str); 2],
}

impl Place<'_> {
    fn key(&self) -> Row {
        self.keys.iter().map(|(name, value)| ((*name).to_owned(), text(*value))).collect()
    }

    /// The row there with this value.
    pub(crate) fn row(&self, value: AttributeValue) -> Row {
        let mut row = self.key();
        row.insert("value".to_owned(), value);
        row
    }
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn to_text<T: Serialize>(value: &T) -> String {
    // Our own types have nothing in them that cannot be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// What a row means. One that cannot be read is as good as none: whoever writes it next replaces it.
pub(crate) fn read<T: DeserializeOwned>(row: &Row) -> Option<T> {
    serde_json::from_str(&unpack(row.get("value")?)?).ok()
}

fn string<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.as_s().ok().map(String::as_str)
}

/// A number as a sort key, in the order of numbers.
fn ordered(number: u64) -> String {
    format!("{number:020}")
}

impl DynamoStore {
    /// The store in these tables.
    pub fn new(sdk: &SdkConfig, tables: Tables) -> Self {
        Self { client: Client::new(sdk), tables }
    }

    fn in_nodes<'a>(&'a self, network: &'a str, node: &'a str) -> Place<'a> {
        Place { table: &self.tables.nodes, keys: [("network", network), ("node", node)] }
    }

    fn in_health<'a>(&'a self, network: &'a str, item: &'a str) -> Place<'a> {
        Place { table: &self.tables.health, keys: [("network", network), ("item", item)] }
    }

    fn in_history<'a>(&'a self, kind: &'a str, id: &'a str) -> Place<'a> {
        Place { table: &self.tables.history, keys: [("kind", kind), ("id", id)] }
    }

    /// Where the last deployment is written down.
    pub(crate) fn deployment(&self) -> Place<'_> {
        self.in_history(DEPLOYMENT, DEPLOYMENT)
    }

    fn unavailable<E, R>(table: &str, error: &SdkError<E, R>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        StoreError::Unavailable { place: format!("DynamoDB table {table}"), why: why(error) }
    }

    /// A whole table.
    async fn scan(&self, table: &str) -> Result<Vec<Row>, StoreError> {
        let rows = self.client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        rows.collect::<Result<_, _>>().await.map_err(|error| Self::unavailable(table, &error))
    }

    /// The rows of a kind in the history: the newest `most`, newest first, or all those up to an id.
    async fn newest(&self, kind: &str, up_to: Option<&str>, most: u32) -> Result<Vec<Row>, StoreError> {
        let table = &self.tables.history;
        let mut rows = Vec::new();
        let wanted = usize::try_from(most).unwrap_or(usize::MAX);
        let mut start = None;
        while rows.len() < wanted {
            let condition = if up_to.is_some() { "kind = :kind AND id <= :id" } else { "kind = :kind" };
            let mut query = self.client.query().table_name(table).consistent_read(true).scan_index_forward(false);
            query = query.key_condition_expression(condition).expression_attribute_values(":kind", text(kind));
            if let Some(id) = up_to {
                query = query.expression_attribute_values(":id", text(id));
            }
            let limit = i32::try_from(wanted - rows.len()).unwrap_or(i32::MAX);
            let page = query.limit(limit).set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| Self::unavailable(table, &error))?;
            rows.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        rows.truncate(wanted);
        Ok(rows)
    }

    pub(crate) async fn get(&self, place: Place<'_>) -> Result<Option<Row>, StoreError> {
        let get = self.client.get_item().table_name(place.table).set_key(Some(place.key())).consistent_read(true);
        let got = get.send().await.map_err(|error| Self::unavailable(place.table, &error))?;
        Ok(got.item)
    }

    /// Writes a row (`None` removes it) if what is there is still, to the byte, what was read: `before`.
    pub(crate) async fn swap(
        &self,
        place: Place<'_>,
        before: Option<&Row>,
        row: Option<Row>,
    ) -> Result<Written, StoreError> {
        let value = before.and_then(|before| before.get("value")).cloned();
        let condition = match (before, &value) {
            (None, _) => "attribute_not_exists(#key)",
            (Some(_), None) => "attribute_exists(#key) AND attribute_not_exists(#value)",
            (Some(_), Some(_)) => "#value = :value",
        };
        let names = [("#key", place.keys[0].0), ("#value", "value")].into_iter();
        let names = names.filter(|(name, _)| condition.contains(name));
        let names = Some(names.map(|(name, of)| (name.to_owned(), of.to_owned())).collect());
        let values = value.map(|value| HashMap::from([(":value".to_owned(), value)]));
        let table = place.table;
        match row {
            Some(row) => {
                let put = self.client.put_item().table_name(table).set_item(Some(row)).condition_expression(condition);
                let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
                written(table, put.send().await)
            }
            None => {
                let gone = self.client.delete_item().table_name(table).set_key(Some(place.key()));
                let gone = gone.condition_expression(condition);
                let gone = gone.set_expression_attribute_names(names).set_expression_attribute_values(values);
                written(table, gone.send().await)
            }
        }
    }

    /// Replaces what a row means (`None`: no row) if what is there means `seen`.
    async fn replace<T: DeserializeOwned + PartialEq>(
        &self,
        place: Place<'_>,
        seen: Option<&T>,
        row: Option<Row>,
    ) -> Result<Written, StoreError> {
        // In the usual case of a new row, without reading first.
        if seen.is_none()
            && let Some(row) = &row
            && self.swap(place, None, Some(row.clone())).await? == Written::Done
        {
            return Ok(Written::Done);
        }
        let before = self.get(place).await?;
        if before.as_ref().and_then(read::<T>).as_ref() != seen {
            return Ok(Written::Lost);
        }
        if before.is_none() && row.is_none() {
            return Ok(Written::Done);
        }
        self.swap(place, before.as_ref(), row).await
    }

    /// Sends writes that need no condition, as many at once as DynamoDB takes, and again what it left undone.
    async fn write_all(&self, requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        let table = &self.tables.history;
        for batch in requests.chunks(BATCH) {
            let mut rest = batch.to_vec();
            for attempt in 0.. {
                let send = self.client.batch_write_item().request_items(table, rest).send().await;
                let sent = send.map_err(|error| Self::unavailable(table, &error))?;
                rest = sent.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
                if rest.is_empty() {
                    break;
                }
                if attempt >= BATCH_TRIES {
                    let (place, why) = (format!("DynamoDB table {table}"), "it is too busy to write".to_owned());
                    return Err(StoreError::Unavailable { place, why });
                }
                tokio::time::sleep(Duration::from_millis(25 << attempt)).await;
            }
        }
        Ok(())
    }
}

/// What a conditional write came to.
fn written<T, E, R>(table: &str, sent: Result<T, SdkError<E, R>>) -> Result<Written, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match sent {
        Ok(_) => Ok(Written::Done),
        Err(error) if is_code(&error, "ConditionalCheckFailedException") => Ok(Written::Lost),
        Err(error) => Err(DynamoStore::unavailable(table, &error)),
    }
}
