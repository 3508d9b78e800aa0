//! The suite over DynamoDB for the gate's part, and what only it promises.

mod faults;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_aws::DynamoStore;
use nodeweir_domain::gate::account::Account;
use nodeweir_domain::gate::key::Key;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow, minute};
use nodeweir_emulator::{Fault, Moto, On, Proxy};
use nodeweir_store::{GateStore as _, Kept, LAPSE_LAG, StoreError, Written};

use crate::emulator::sdk_at;
use crate::samples::at;
use crate::samples::gate::{account, key, lease, log, named, period, project, project_id, sidecar, usage};
use crate::store::{Fresh, text};
use crate::{Row, contract};

const DAY: u64 = 86_400;

contract!(gate: Fresh::new().await);

/// Writes what no reader understands, in a row that is whole otherwise.
pub(crate) async fn spoil(fresh: &Fresh, row: Row, which: usize, damage: AttributeValue) {
    let (gate, usage) = (&fresh.tables.gate, &fresh.tables.usage);
    let at_key = |kind: &str, id: &str| [("kind", text(kind)), ("id", text(id))];
    match row {
        Row::Project => {
            let [kind, id] = at_key("project", "shop");
            fresh.put(gate, [kind, id, ("value", damage)]).await;
        }
        Row::Key => {
            let partition = format!("key#{}", key(1).digest);
            let [kind, id] = at_key(&partition, "key");
            fresh.put(gate, [kind, id, ("value", damage)]).await;
            fresh.put(gate, at_key("keys#shop", &partition)).await;
            let [kind, id] = at_key("keys#shop", "name#one");
            fresh.put(gate, [kind, id, ("digest", text(&key(1).digest.to_string()))]).await;
        }
        Row::Account => {
            let [kind, id] = at_key("accounts#shop", "2026-11");
            let index = [("lapsing", text("0")), ("lapses", text("2023-01-01T00:00:00Z"))];
            let [shard, lapses] = index;
            fresh.put(gate, [kind, id, shard, lapses, ("value", damage)]).await;
        }
        Row::LogCursor => {
            let [kind, id] = at_key("log#proxy-1", "cursor");
            fresh.put(gate, [kind, id, ("value", damage)]).await;
        }
        Row::Usage => {
            let id = format!("minute#{}#no key#ethereum#200#{which}", minute(at(0)));
            fresh.put(usage, [("project", text("shop")), ("row", text(&id)), ("requests", damage)]).await;
        }
        _ => unreachable!("it is of the fleet"),
    }
}

/// Recorded from wherever the log stands.
async fn record(store: &DynamoStore, rows: &[UsageRow]) {
    let seen = store.log_cursor(&log()).await.unwrap();
    let now = LogCursor::at(1, seen.map_or(0, |seen| seen.offset) + 1);
    assert_eq!(store.record_usage(&log(), seen, now, rows).await.unwrap(), Written::Done);
}

async fn calls(store: &DynamoStore) -> u64 {
    let rows = store.usage(&project_id("shop"), Timestamp::MIN, Timestamp::MAX).await.unwrap();
    rows.iter().map(|row| row.counts.calls).sum()
}

/// With a lease that holds credits.
fn leased(amount: u64) -> Account {
    Account { leases: [(sidecar("a"), lease(amount, 1))].into(), ..account(100) }
}

/// What each costs is counted in units of these calls.
#[tokio::test]
async fn each_is_as_few_calls_as_can_be() {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    let made = |expected: &[&str]| {
        let calls: Vec<_> = aws.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(calls, expected);
        aws.forget();
    };
    aws.forget();
    let _ = store.key(&key(1).digest).await.unwrap();
    made(&["GetItem"]);
    assert_eq!(store.put_key(None, &key(1)).await.unwrap(), Written::Done);
    made(&["TransactWriteItems"]);
    let (old, new) = (named(1, "old"), key(2));
    assert_eq!(store.replace_key(&key(1), &old, &new).await.unwrap(), Written::Done);
    made(&["TransactWriteItems"]);
    assert_eq!(store.keys(&project_id("shop")).await.unwrap().len(), 2);
    made(&["Query", "BatchGetItem"]);
    assert_eq!(store.put_project(None, &project("shop", 1)).await.unwrap(), Written::Done);
    made(&["PutItem"]);
    let _ = store.account(&project_id("shop"), period("2026-11")).await.unwrap();
    made(&["GetItem"]);
    for (seen, account) in [(None, account(100)), (Some(account(100)), leased(5))] {
        assert_eq!(store.put_account(seen.as_ref(), &account).await.unwrap(), Written::Done);
        made(&["PutItem"]);
    }
    assert_eq!(store.put_account(Some(&account(1)), &account(2)).await.unwrap(), Written::Lost);
    made(&["PutItem", "GetItem"]);
    assert_eq!(store.lapsed_accounts(at(2) + LAPSE_LAG, 9).await.unwrap(), [leased(5)]);
    made(&["Query", "Query", "Query", "Query", "Query", "Query", "Query", "Query", "GetItem"]);
    let now = LogCursor::at(1, 1);
    assert_eq!(store.record_usage(&log(), None, now, &[usage(0, "eth_call", 1)]).await.unwrap(), Written::Done);
    made(&["TransactWriteItems"]);
    assert_eq!(calls(&store).await, 1);
    made(&["GetItem", "Query", "GetItem"]);
    assert_eq!(store.fold_usage(at(2 * DAY)).await.unwrap(), 1);
    let folding = aws.calls().into_iter().map(|call| call.operation).filter(|operation| *operation != "Query");
    assert_eq!(folding.collect::<Vec<_>>(), ["PutItem", "BatchWriteItem", "UpdateItem"]);
    aws.forget();
    assert_eq!(calls(&store).await, 1);
    made(&["GetItem", "Query", "Query", "GetItem"]);
}

/// Two rows that mean the same to this version of the program are not the same to another one.
#[tokio::test]
async fn what_is_in_another_spelling_can_be_replaced() {
    let fresh = Fresh::new().await;
    let (store, gate) = (fresh.store(), &fresh.tables.gate);
    let spell = async |kind: &str, id: &str, value: String| {
        fresh.put(gate, [("kind", text(kind)), ("id", text(id)), ("value", text(&value))]).await;
    };
    assert_eq!(store.put_key(None, &key(1)).await.unwrap(), Written::Done);
    spell(&format!("key#{}", key(1).digest), "key", serde_json::to_string_pretty(&key(1)).unwrap()).await;
    spell("project", "shop", serde_json::to_string_pretty(&project("shop", 1)).unwrap()).await;
    spell("accounts#shop", "2026-11", serde_json::to_string_pretty(&account(1)).unwrap()).await;
    spell("log#proxy-1", "cursor", r#"{"offset": 7, "file": 3}"#.to_owned()).await;

    let renamed = named(1, "two");
    assert_eq!(store.put_key(Some(&key(1)), &renamed).await.unwrap(), Written::Done);
    assert_eq!(store.keys(&project_id("shop")).await.unwrap(), [renamed]);
    assert_eq!(store.put_key(None, &key(2)).await.unwrap(), Written::Done, "its name is free");
    assert_eq!(store.put_project(Some(&project("shop", 1)), &project("shop", 2)).await.unwrap(), Written::Done);
    assert_eq!(store.put_account(Some(&account(1)), &account(2)).await.unwrap(), Written::Done);
    let [seen, now] = [7, 8].map(|offset| LogCursor::at(3, offset));
    assert_eq!(store.record_usage(&log(), Some(seen), now, &[]).await.unwrap(), Written::Done);
    assert_eq!(store.log_cursor(&log()).await.unwrap(), Some(now));
}

/// DynamoDB takes a hundred keys at once, and leaves some of them when they are large or it is busy.
#[tokio::test]
async fn many_keys_are_listed_whole() {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    let keys: Vec<Key> = (0..105).map(|number| Key { revoked: Some(at(1)), ..key(number) }).collect();
    let puts = keys.iter().map(|key| async { store.put_key(None, key).await.unwrap() });
    assert!(join_all(puts).await.iter().all(|written| *written == Written::Done));
    let table = fresh.tables.gate.clone();
    let leave = Fault::changed(move |answer| {
        let left = answer["Responses"][&table].as_array_mut().and_then(Vec::pop).unwrap();
        let left = serde_json::json!({"kind": left["kind"], "id": left["id"]});
        answer["UnprocessedKeys"] = serde_json::json!({table.clone(): {"Keys": [left], "ConsistentRead": true}});
    });
    aws.forget();
    aws.fault(On::call("dynamodb", "BatchGetItem").first(2), leave.clone());
    let listed = store.keys(&project_id("shop")).await.unwrap();
    assert_eq!((listed.len(), aws.count(&On::call("dynamodb", "BatchGetItem"))), (105, 4));
    assert_eq!(listed, keys);

    aws.fault(On::call("dynamodb", "BatchGetItem"), leave);
    let error = store.keys(&project_id("shop")).await.unwrap_err();
    assert!(error.to_string().contains("too busy to read"), "{error}");
}

#[tokio::test]
async fn an_account_is_in_the_index_by_the_mark_after_its_first_lease() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    let lapses = async || {
        let rows = fresh.rows(&fresh.tables.gate).await;
        assert!(rows[0]["lapsing"].as_s().unwrap().parse::<u8>().unwrap() < 8);
        rows[0]["lapses"].as_s().unwrap().clone()
    };
    let mut seen = None;
    // Of one that ends at 22:13:21; a settling within the ten minutes changes nothing in the index.
    for (account, expected) in
        [(leased(5), "2023-11-14T22:20:00Z"), (leased(0), "never"), (leased(1), "2023-11-14T22:20:00Z")]
    {
        let written = match &seen {
            None => store.put_account(None, &account).await.unwrap(),
            Some(_) => store.put_accounts(&[(seen, account.clone())]).await.remove(0).unwrap(),
        };
        assert_eq!((written, lapses().await.as_str()), (Written::Done, expected));
        seen = Some(account);
    }
}

#[tokio::test]
async fn cursors_and_days_end_by_themselves_and_minutes_do_not() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    record(&store, &[usage(0, "eth_call", 1)]).await;
    let expires = |row: &HashMap<String, AttributeValue>| {
        row.get("expires").map(|expires| expires.as_n().unwrap().parse::<i64>().unwrap())
    };
    let cursor = expires(&fresh.rows(&fresh.tables.gate).await[0]).unwrap();
    let kept = Duration::from_secs(cursor.unsigned_abs() - Timestamp::now().as_second().unsigned_abs());
    assert!(kept > Kept::USAGE_MINUTES && kept < 7 * Kept::USAGE_MINUTES, "{kept:?}");
    for row in fresh.rows(&fresh.tables.usage).await {
        let is_day = row["row"].as_s().unwrap().starts_with("day#");
        let after = expires(&row).map(|expires| Timestamp::from_second(expires).unwrap().duration_since(at(DAY)));
        assert_eq!(after.is_some(), is_day, "{row:?}");
        assert!(after.is_none_or(|after| after > Kept::USAGE_DAYS.try_into().unwrap()), "{after:?}");
    }
}

/// A sidecar that cannot count must say so, and must not go on as if it had.
#[tokio::test]
async fn nothing_is_added_to_a_row_that_cannot_be_read() {
    let fresh = Fresh::new().await;
    let store = fresh.store();
    record(&store, &[usage(0, "eth_call", 1)]).await;
    let row = format!("minute#{}#{}#ethereum#200#eth_call", minute(at(0)), key(1).id());
    fresh.put(&fresh.tables.usage, [("project", text("shop")), ("row", text(&row)), ("calls", text("many"))]).await;
    let seen = store.log_cursor(&log()).await.unwrap();
    let [one, other] = [usage(DAY, "eth_call", 1), usage(0, "eth_call", 1)];
    let now = LogCursor::at(1, 9);
    let error = store.record_usage(&log(), seen, now, &[one.clone(), other]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { what: "usage", .. }), "{error:?}");
    assert_eq!(store.log_cursor(&log()).await.unwrap(), seen);
    assert_eq!(calls(&store).await, 0, "the other is not written either");
    assert_eq!(store.record_usage(&log(), seen, now, &[one]).await.unwrap(), Written::Done);
    assert_eq!(calls(&store).await, 1);
}

/// Two sidecars fold while a third counts late, and a fourth looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_folds_beside_others_loses_nothing() {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    let rows: Vec<_> = (0..40).map(|minute| usage(minute * 60, "eth_call", 1)).collect();
    record(&store, &rows).await;
    let removing = aws.hold(On::call("dynamodb", "BatchWriteItem"));
    let folding = [fresh.store(), fresh.store()]
        .map(|store| tokio::spawn(async move { store.fold_usage(at(2 * DAY)).await.unwrap() }));
    removing.arrived(2).await;
    assert_eq!(calls(&store).await, 40);
    record(&store, &[usage(60 * 60, "eth_call", 1)]).await;
    assert_eq!(calls(&store).await, 41, "it is counted at once");
    removing.release();
    for folding in folding {
        assert!(folding.await.unwrap() >= 40);
    }
    assert_eq!(calls(&store).await, 41);
    // A minute may have come after others were looked for: the day is looked at once more.
    assert!(store.fold_usage(at(2 * DAY)).await.unwrap() <= 1);
    assert_eq!((calls(&store).await, store.fold_usage(at(2 * DAY)).await.unwrap()), (41, 0));
    assert_eq!(fresh.rows(&fresh.tables.usage).await.len(), 1, "only the day is left");
    store.forget_usage(at(9 * DAY)).await.unwrap();
    assert_eq!(fresh.rows(&fresh.tables.usage).await.len(), 0);
}
