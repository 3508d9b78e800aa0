//! The suite over DynamoDB, and what only it promises.

use std::collections::{BTreeSet, HashMap};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use nodeweir_aws::{DynamoStore, Tables};
use nodeweir_domain::fleet::judge::{NodeSeen, Seen};
use nodeweir_domain::name::NodeName;
use nodeweir_emulator::{Fault, Moto, On, Proxy};
use nodeweir_store::{FleetStore as _, StoreError, Written};
use serde_json::json;

use crate::emulator::{name, sdk, sdk_at};
use crate::samples::{at, event, item, network, revision, seen, status};
use crate::{Place, Row, contract};

/// Tables of their own.
pub(crate) struct Fresh {
    sdk: SdkConfig,
    pub(crate) tables: Tables,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        Self::at(sdk().await).await
    }

    pub(crate) async fn at(sdk: SdkConfig) -> Self {
        let [nodes, health, history, gate, usage] = ["nodes", "health", "history", "gate", "usage"].map(name);
        let fresh = Self { sdk, tables: Tables { nodes, health, history, gate, usage } };
        let Tables { nodes, health, history, gate, usage } = &fresh.tables;
        fresh.create(nodes, ["network", "node"], None).await;
        fresh.create(health, ["network", "item"], None).await;
        fresh.create(history, ["kind", "id"], None).await;
        fresh.create(gate, ["kind", "id"], Some(("lapsing", ["lapsing", "lapses"]))).await;
        fresh.create(usage, ["project", "row"], Some(("minutes", ["minutes", "row"]))).await;
        fresh
    }

    /// A table with its partition and sort key, and an index with its own, which holds keys only.
    async fn create(&self, table: &str, keys: [&str; 2], index: Option<(&str, [&str; 2])>) {
        let schema = |keys: [&str; 2]| {
            let parts = keys.into_iter().zip([KeyType::Hash, KeyType::Range]);
            let parts =
                parts.map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build());
            Some(parts.collect::<Result<Vec<_>, _>>().unwrap())
        };
        let attribute = |name: &str| {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            attribute.attribute_type(ScalarAttributeType::S).build().unwrap()
        };
        let names: BTreeSet<&str> = keys.into_iter().chain(index.into_iter().flat_map(|(_, keys)| keys)).collect();
        let indexes = index.map(|(name, keys)| {
            let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            let index = GlobalSecondaryIndex::builder().index_name(name).set_key_schema(schema(keys));
            vec![index.projection(projection).build().unwrap()]
        });
        let create = self.client().create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        let create = create.set_key_schema(schema(keys)).set_global_secondary_indexes(indexes);
        create.set_attribute_definitions(Some(names.into_iter().map(attribute).collect())).send().await.unwrap();
    }

    pub(crate) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    fn client(&self) -> Client {
        Client::new(&self.sdk)
    }

    pub(crate) fn store(&self) -> DynamoStore {
        DynamoStore::new(&self.sdk, self.tables.clone())
    }

    /// Past the store.
    pub(crate) async fn put<const N: usize>(&self, table: &str, row: [(&str, AttributeValue); N]) {
        let row: HashMap<_, _> = row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.client().put_item().table_name(table).set_item(Some(row)).send().await.unwrap();
    }

    /// All rows of a table.
    pub(crate) async fn rows(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let rows = self.client().scan().table_name(table).into_paginator().items().send();
        rows.collect::<Result<_, _>>().await.unwrap()
    }
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// No JSON, JSON of another shape, bytes that are not packed, another type, a set.
fn damage(which: usize) -> AttributeValue {
    match which {
        0 => text("{\"half\": "),
        1 => text("[7]"),
        2 => AttributeValue::B(Blob::new([0, 255])),
        3 => AttributeValue::N("7".to_owned()),
        _ => AttributeValue::Ss(vec!["a".to_owned()]),
    }
}

impl Place for Fresh {
    type Store = DynamoStore;
    const DAMAGES: usize = 5;

    async fn open(&self) -> DynamoStore {
        self.store()
    }

    async fn spoil(&self, row: Row, which: usize) {
        let damage = damage(which);
        let Tables { nodes, health, history, .. } = &self.tables;
        match row {
            Row::Item => self.put(nodes, [("network", text("ethereum")), ("node", text("a")), ("url", damage)]).await,
            Row::Status => {
                self.put(health, [("network", text("ethereum")), ("item", text("status#a")), ("value", damage)]).await;
            }
            Row::NamelessStatus => {
                self.put(health, [("network", text("No Name")), ("item", text("status#?")), ("value", damage)]).await;
            }
            Row::Seen => {
                let (network, tick) = (text("ethereum"), text("now"));
                self.put(health, [("network", network), ("item", text("seen")), ("tick", tick), ("value", damage)])
                    .await;
            }
            Row::Pin => self.put(history, [("kind", text("pin")), ("id", text("pin")), ("value", damage)]).await,
            Row::Revision => {
                let (kind, id) = (text("revision"), text(&format!("{:020}", 2)));
                self.put(history, [("kind", kind), ("id", id), ("name", damage.clone()), ("parts", damage)]).await;
            }
            Row::Event => {
                let (kind, id) = (text("event"), text(&format!("1{which}")));
                self.put(history, [("kind", kind), ("id", id), ("value", damage)]).await;
            }
            Row::Project | Row::Key | Row::Account | Row::LogCursor | Row::Usage => {
                crate::gate::spoil(self, row, which, damage).await;
            }
        }
    }
}

contract!(fleet: Fresh::new().await);

/// Somebody adds an attribute in the console while an edit is on its way.
#[tokio::test]
async fn an_edit_loses_no_attribute_that_somebody_else_adds() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let seen = item("ethereum", "a", json!({"url": "http://a:1", "colour": "red"}));
    assert_eq!(store.put_item(None, &seen).await.unwrap(), Written::Done);
    let row = [("network", text("ethereum")), ("node", text("a")), ("url", text("http://a:1"))];
    let [network, node, url] = row;
    let by_hand = [network, node, url, ("colour", text("red")), ("owner", text("team"))];
    fresh.put(&fresh.tables.nodes, by_hand).await;
    let edited = item("ethereum", "a", json!({"url": "http://a:2"}));
    assert_eq!(store.put_item(Some(&seen), &edited).await.unwrap(), Written::Done);
    let both = item("ethereum", "a", json!({"url": "http://a:2", "owner": "team"}));
    assert_eq!(store.items().await.unwrap(), [both]);

    // One that means something is a conflict.
    let by_hand =
        [("network", text("ethereum")), ("node", text("a")), ("url", text("http://a:2")), ("weight", text("3"))];
    fresh.put(&fresh.tables.nodes, by_hand).await;
    let more = item("ethereum", "a", json!({"url": "http://a:3"}));
    assert_eq!(store.put_item(Some(&edited), &more).await.unwrap(), Written::Lost);
}

#[tokio::test]
async fn a_large_network_fits_one_row_and_a_large_table_is_read_whole() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let names = (0..5_000).map(|index| format!("node-{index}").parse::<NodeName>().unwrap());
    let nodes = names.map(|name| {
        let (head, chain_checked) = (Some(20_000_000 + fastrand::u64(..9)), Some(at(fastrand::u64(..3_600))));
        let latency_ms = fastrand::u64(..2_000);
        (name, NodeSeen { head, lag: head, latency_ms, good: 7, chain_checked, ..NodeSeen::default() })
    });
    let large = Seen { nodes: nodes.collect(), ..seen(1) };
    assert_eq!(store.put_seen(&network("ethereum"), None, &large).await.unwrap(), Written::Done);
    assert_eq!(store.health().await.unwrap()[&network("ethereum")].seen, large);

    // 1 MB and more come in several pages.
    let note = "n".repeat(40_000);
    for index in 0..40 {
        let item = item("ethereum", &format!("node-{index:02}"), json!({"url": "http://a:1", "note": note}));
        assert_eq!(store.put_item(None, &item).await.unwrap(), Written::Done);
    }
    assert_eq!(store.items().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_long_revision_is_kept_in_parts_and_goes_with_them() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let mut long = revision(1);
    // What cannot be compressed.
    let lines: Vec<_> = (0..150_000).map(|_| format!("# {:016x}\n", fastrand::u64(..))).collect();
    long.body = lines.concat();
    store.record_revision(&long).await.unwrap();
    assert_eq!(store.revision(1).await.unwrap(), Some(long));
    let rows = fresh.rows(&fresh.tables.history).await;
    assert!(rows.len() > 3, "{} rows", rows.len());
    store.record_revision(&revision(5_000)).await.unwrap();
    assert_eq!(fresh.rows(&fresh.tables.history).await.len(), 2, "the row and the text of the newest");
}

/// DynamoDB leaves writes of a batch undone when it is busy.
#[tokio::test]
async fn what_a_batch_leaves_undone_is_written_all_the_same() {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    aws.fault(On::call("dynamodb", "BatchWriteItem").first(4), Fault::Unprocessed(7));
    let events: Vec<_> = (0..60).map(event).collect();
    store.record_events(&events).await.unwrap();
    let mut found = store.events(100).await.unwrap();
    found.reverse();
    assert_eq!(found, events);

    // It never gets to it: an error, and not silence.
    aws.heal();
    aws.fault(On::call("dynamodb", "BatchWriteItem"), Fault::Unprocessed(0));
    let error = store.record_events(&events[..1]).await.unwrap_err();
    assert!(error.to_string().contains("too busy"), "{error}");
}

#[tokio::test]
async fn events_end_by_themselves() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let all: Vec<_> = (0..60).map(event).collect();
    store.record_events(&all).await.unwrap();
    let newest: Vec<_> = all.into_iter().rev().collect();
    assert_eq!(store.events(100).await.unwrap(), newest, "in more than one batch");
    let now = jiff::Timestamp::now().as_second();
    for row in fresh.rows(&fresh.tables.history).await {
        let expires: i64 = row["expires"].as_n().unwrap().parse().unwrap();
        assert!((89..=90).contains(&((expires - now) / 86_400)), "{expires}");
    }
}

#[tokio::test]
async fn a_store_out_of_reach_is_named_with_what_it_said() {
    let fresh = Fresh::new().await;
    let missing = Tables { nodes: "no-such-table".to_owned(), ..fresh.tables.clone() };
    let error = DynamoStore::new(&fresh.sdk, missing.clone()).items().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }));
    let said = error.to_string();
    assert!(said.starts_with("the store DynamoDB table no-such-table cannot be used now: ResourceNotFound"), "{said}");
    let nowhere = sdk_at("http://127.0.0.1:1").await;
    let error = DynamoStore::new(&nowhere, missing).items().await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
}

/// Two rows that mean the same to this version of the program are not the same to another one.
#[tokio::test]
async fn a_status_in_another_spelling_can_be_replaced() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let (ethereum, a) = (network("ethereum"), "a".parse::<NodeName>().unwrap());
    let spelled = serde_json::to_string_pretty(&status(1)).unwrap();
    let row = [("network", text("ethereum")), ("item", text("status#a")), ("value", text(&spelled))];
    fresh.put(&fresh.tables.health, row).await;
    assert_eq!(store.put_status(&ethereum, &a, Some(&status(1)), Some(&status(2))).await.unwrap(), Written::Done);
    assert_eq!(store.health().await.unwrap()[&ethereum].statuses[&a], status(2));
}
