//! `FleetStore` and `GateStore` over DynamoDB.
//!
//! People edit the table `nodes`, also with other programs, so its items have plain attributes. The other tables are
//! this program's own: what a row means is JSON in its attribute `value`, but in `usage`. A condition on such a row is on
//! its very bytes, as they were read a moment before: comparing what they mean would tie every version of the program to
//! the text that another one writes.

mod batch;
mod expression;
mod fleet;
mod gate;
mod query;
mod statement;
mod transaction;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use nodeweir_store::{StoreError, Written};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::{is_code, why};
use crate::packed::unpack;
use expression::Expression;
use query::Query;

pub(crate) type Row = HashMap<String, AttributeValue>;

/// Partition and only sort key of the last deployment's row in `history`.
const DEPLOYMENT: &str = "deployment";

/// The names of the tables. A program may leave those out that it does not use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// The node list: partition key `network`, sort key `node`.
    pub nodes: String,
    /// Health: partition key `network`, sort key `item`.
    pub health: String,
    /// Revisions, events, the rollback in force, the last deployment: partition key `kind`, sort key `id`.
    pub history: String,
    /// Projects, keys, accounts, how far logs were counted: partition key `kind`, sort key `id`; index `lapsing`.
    pub gate: String,
    /// Usage: partition key `project`, sort key `row`; index `minutes`.
    pub usage: String,
}

/// The state of the control path and of the gate in DynamoDB.
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
    parse(row).ok()
}

/// What a row means, or why it cannot be read.
fn parse<T: DeserializeOwned>(row: &Row) -> Result<T, String> {
    let text = row.get("value").and_then(unpack).ok_or("there is no text in its attribute `value`")?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn string<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.as_s().ok().map(String::as_str)
}

/// The time after which a row may go by itself, from now on.
fn expiry(kept: Duration) -> AttributeValue {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AttributeValue::N((now + kept).as_secs().to_string())
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

    fn in_gate<'a>(&'a self, kind: &'a str, id: &'a str) -> Place<'a> {
        Place { table: &self.tables.gate, keys: [("kind", kind), ("id", id)] }
    }

    fn in_usage<'a>(&'a self, project: &'a str, row: &'a str) -> Place<'a> {
        Place { table: &self.tables.usage, keys: [("project", project), ("row", row)] }
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
        let asked = Query::new(&self.tables.history, "kind", kind).newest_first();
        let asked = match up_to {
            Some(id) => asked.up_to("id", id),
            None => asked,
        };
        self.query(&asked, most).await
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
        let Expression { text, names, values } = Expression::still(place, before);
        let table = place.table;
        match row {
            Some(row) => {
                let put = self.client.put_item().table_name(table).set_item(Some(row)).condition_expression(text);
                let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
                written(table, put.send().await)
            }
            None => {
                let gone = self.client.delete_item().table_name(table).set_key(Some(place.key()));
                let gone = gone.condition_expression(text);
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
}

/// It answered, but did not do it.
fn busy(table: &str, why: &str) -> StoreError {
    StoreError::Unavailable { place: format!("DynamoDB table {table}"), why: why.to_owned() }
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
