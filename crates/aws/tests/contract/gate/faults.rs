//! Calls that fail, in every way, while the gate's state is written.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_aws::DynamoStore;
use nodeweir_domain::gate::key::Key;
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::LogCursor;
use nodeweir_emulator::{Answer, Fault, Moto, On, Proxy};
use nodeweir_store::{GateStore as _, StoreError, Written};
use serde_json::json;

use super::{DAY, calls, leased, record};
use crate::emulator::sdk_at;
use crate::samples::at;
use crate::samples::gate::{account, key, log, named, period, project, project_id, usage};
use crate::store::Fresh;

/// How often the SDK tries by itself.
const ATTEMPTS: usize = 3;

/// Does it until the store says what came of it.
async fn insist<T>(work: impl AsyncFn() -> Result<T, StoreError>) -> T {
    loop {
        match work().await {
            Ok(done) => return done,
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything that is written, each while the first `failures` calls fail so.
async fn write_all(fault: Fault, failures: usize) {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    let failing = async || {
        aws.heal();
        aws.forget();
        aws.fault(On::any().first(failures), fault.clone());
    };
    let healed = async |what: &str, written: Written| {
        aws.heal();
        // It may have been done the first time, and lost the second.
        assert!(aws.calls().len() > failures, "{fault:?} of {what}: {written:?}");
    };

    let (first, second): (Project, Project) = (project("shop", 1), project("shop", 2));
    failing().await;
    healed("a new project", insist(async || store.put_project(None, &first).await).await).await;
    failing().await;
    healed("a project", insist(async || store.put_project(Some(&first), &second).await).await).await;
    assert_eq!(store.projects().await.unwrap(), [second]);

    failing().await;
    healed("a new key", insist(async || store.put_key(None, &key(1)).await).await).await;
    assert_eq!(store.keys(&project_id("shop")).await.unwrap(), [key(1)]);
    let (old, new) = (named(1, "old"), key(2));
    failing().await;
    healed("two keys", insist(async || store.replace_key(&key(1), &old, &new).await).await).await;
    assert_eq!(store.keys(&project_id("shop")).await.unwrap(), [old.clone(), new.clone()]);
    let revoked = Key { revoked: Some(at(9)), ..new.clone() };
    failing().await;
    healed("a revocation", insist(async || store.put_key(Some(&new), &revoked).await).await).await;
    assert_eq!(store.key(&new.digest).await.unwrap(), Some(revoked));
    assert_eq!(store.put_key(None, &key(3)).await.unwrap(), Written::Done, "its name is free");

    for (seen, next) in [(None, account(100)), (Some(account(100)), leased(7))] {
        failing().await;
        healed("an account", insist(async || store.put_account(seen.as_ref(), &next).await).await).await;
        assert_eq!(store.account(&next.project, next.period).await.unwrap(), Some(next));
    }
    let (seen, next) = (leased(7), leased(8));
    failing().await;
    let change = [(Some(seen), next.clone())];
    healed("one of many accounts", insist(async || store.put_accounts(&change).await.remove(0)).await).await;
    assert_eq!(store.account(&next.project, next.period).await.unwrap(), Some(next));

    let mut seen = None;
    for offset in 1..=2 {
        let now = LogCursor::at(1, offset);
        failing().await;
        healed("usage", insist(async || store.record_usage(&log(), seen, now, &[usage(0, "eth_call", 1)]).await).await)
            .await;
        assert_eq!((store.log_cursor(&log()).await.unwrap(), calls(&store).await), (Some(now), offset));
        seen = Some(now);
    }
    failing().await;
    insist(async || store.fold_usage(at(2 * DAY)).await).await;
    aws.heal();
    assert_eq!((calls(&store).await, store.fold_usage(at(2 * DAY)).await.unwrap()), (2, 0));
    failing().await;
    insist(async || store.forget_usage(at(2 * DAY)).await).await;
    aws.heal();
    assert_eq!(calls(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_again_after_any_failure_is_written_once() {
    // One that the SDK tries again, and one that it gives up.
    let all = Fault::FAILURES.into_iter().flat_map(|fault| [1, ATTEMPTS].map(|failures| (fault.clone(), failures)));
    join_all(all.map(|(fault, failures)| write_all(fault, failures))).await;
}

/// From one call on, nothing is answered any more. Says whether that was before the end.
async fn fold_and_fail(fault: &Fault, call: usize) -> bool {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    record(&store, &[0, 60, DAY, 2 * DAY].map(|second| usage(second, "eth_call", 1))).await;
    aws.forget();
    aws.fault(On::any().from(call), fault.clone());
    let has_failed = store.fold_usage(at(2 * DAY)).await.is_err();
    aws.heal();
    assert_eq!(calls(&store).await, 4, "{fault:?} from call {call} on");
    assert!(store.fold_usage(at(2 * DAY)).await.unwrap() <= 3);
    assert_eq!((calls(&store).await, store.fold_usage(at(2 * DAY)).await.unwrap()), (4, 0));
    let rows = store.usage(&project_id("shop"), Timestamp::MIN, Timestamp::MAX).await.unwrap();
    assert_eq!(rows.len(), 3, "two days and a minute");
    has_failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_folding_ends_nothing_is_lost_or_counts_twice() {
    for fault in [Fault::Lost, Fault::Refused] {
        let ends = join_all((0..24).map(|call| fold_and_fail(&fault, call))).await;
        let failed = ends.iter().take_while(|has_failed| **has_failed).count();
        assert!(failed > 12 && ends[failed..].iter().all(|has_failed| !has_failed), "{ends:?}");
    }
}

/// DynamoDB refuses a transaction that meets another; moto does one after the other.
fn cancelled(code: &str) -> Fault {
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let reasons = json!([{"Code": "None"}, {"Code": code, "Message": "not now"}]);
    let body = json!({"__type": kind, "Message": "Transaction cancelled", "CancellationReasons": reasons});
    let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.0".to_owned())];
    Fault::Instead(Answer::Raw(400, headers, body.to_string().into()))
}

async fn met(store: &DynamoStore) -> Result<Written, StoreError> {
    store.record_usage(&log(), None, LogCursor::at(1, 1), &[usage(0, "eth_call", 1)]).await
}

#[tokio::test]
async fn a_transaction_that_meets_others_waits_a_little_and_not_for_ever() {
    let aws = Proxy::start(Moto::shared());
    let fresh = Fresh::at(sdk_at(&aws.url()).await).await;
    let store = fresh.store();
    let sent = On::call("dynamodb", "TransactWriteItems");
    for code in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
        aws.heal();
        aws.forget();
        aws.fault(sent.clone(), cancelled(code));
        let before = Instant::now();
        let error = met(&store).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Unavailable { .. }) && error.to_string().contains("all the time"),
            "{error}"
        );
        assert_eq!(aws.count(&sent), 8);
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    }
    assert_eq!(calls(&store).await, 0);
    aws.heal();
    aws.forget();
    aws.fault(sent.clone().first(3), cancelled("TransactionConflict"));
    assert_eq!(met(&store).await.unwrap(), Written::Done);
    assert_eq!((aws.count(&sent), calls(&store).await), (4, 1));
    // What is for good is not tried again.
    aws.forget();
    aws.heal();
    aws.fault(sent.clone(), cancelled("AccessDenied"));
    assert!(matches!(met(&store).await.unwrap_err(), StoreError::Unavailable { .. }));
    assert_eq!(aws.count(&sent), 1);
    assert_eq!(store.account(&project_id("shop"), period("2026-11")).await.unwrap(), None);
}
