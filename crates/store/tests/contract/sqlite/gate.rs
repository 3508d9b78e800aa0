//! What only the embedded store promises of the gate's part.

use std::thread;

use nodeweir_domain::gate::usage::LogCursor;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{FleetStore, GateStore, Written};
use rusqlite::Connection;
use serde::Serialize;
use serde_json::json;

use super::Folder;
use crate::samples::gate::{account, key, log, period, project, project_id, usage};
use crate::samples::{at, event, item, network, node, pin, revision, seen, status};

/// One of everything.
pub(super) async fn fill(store: &SqliteStore) {
    assert_eq!(store.put_project(None, &project("shop", 1)).await.unwrap(), Written::Done);
    assert_eq!(store.put_key(None, &key(1)).await.unwrap(), Written::Done);
    assert_eq!(store.put_account(None, &account(100)).await.unwrap(), Written::Done);
    let now = LogCursor::at(1, 2);
    assert_eq!(store.record_usage(&log(), None, now, &[usage(0, "eth_call", 1)]).await.unwrap(), Written::Done);
}

/// Insists on what [`fill`] wrote.
pub(super) async fn is_filled(store: &SqliteStore) {
    assert_eq!(store.projects().await.unwrap(), [project("shop", 1)]);
    assert_eq!(store.key(&key(1).digest).await.unwrap(), Some(key(1)));
    assert_eq!(store.account(&project_id("shop"), period("2026-11")).await.unwrap(), Some(account(100)));
    assert_eq!(store.log_cursor(&log()).await.unwrap(), Some(LogCursor::at(1, 2)));
    assert_eq!(store.usage(&project_id("shop"), at(0), at(1)).await.unwrap(), [usage(0, "eth_call", 1)]);
}

/// A file as the first schema has it, with one of everything.
fn first_schema(folder: &Folder) {
    let file = Connection::open(folder.file()).unwrap();
    file.execute_batch(include_str!("../../../src/sqlite/schema/1.sql")).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    let insert = |sql: &str, values: &[&str]| file.execute(sql, rusqlite::params_from_iter(values)).unwrap();
    insert("INSERT INTO nodes VALUES ('ethereum', 'a', ?1)", &[&text(&json!({"url": "http://a", "weight": 3}))]);
    insert("INSERT INTO statuses VALUES ('ethereum', 'a', ?1)", &[&text(&status(1))]);
    insert("INSERT INTO seen VALUES ('ethereum', ?1, ?2)", &[&at(1).to_string(), &text(&seen(1))]);
    insert("INSERT INTO singles VALUES ('pin', ?1), ('edits', '41')", &[&text(&pin(1))]);
    insert("INSERT INTO events (value) VALUES (?1)", &[&text(&event(1))]);
    let revision = revision(1);
    let values = [&revision.name(), &revision.at.to_string(), &revision.reason, &revision.compose()];
    insert("INSERT INTO revisions VALUES (1, ?1, ?2, ?3, ?4)", &values.map(String::as_str));
}

/// As the store writes values.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_to_this_one_and_loses_nothing() {
    let folder = Folder::new();
    first_schema(&folder);
    for round in 0..2 {
        let store = folder.store();
        if round == 0 {
            assert_eq!(store.projects().await.unwrap(), []);
            fill(&store).await;
        }
        is_filled(&store).await;
        assert_eq!(store.items().await.unwrap(), [item("ethereum", "a", json!({"url": "http://a", "weight": 3}))]);
        let health = &store.health().await.unwrap()[&network("ethereum")];
        assert_eq!((&health.seen, &health.statuses[&node("a")]), (&seen(1), &status(1)));
        assert_eq!(store.pin().await.unwrap(), Some(pin(1)));
        assert_eq!(store.revision(1).await.unwrap(), Some(revision(1)));
        assert_eq!(store.events(9).await.unwrap(), [event(1)]);
        assert_eq!(store.edits().await.unwrap(), 41);
    }
    let version: i64 =
        Connection::open(folder.file()).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 3);
}

#[test]
fn a_file_of_the_first_schema_may_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let folder = Folder::new();
        first_schema(&folder);
        thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteStore::open(&folder.file()))).collect();
            for opened in opening {
                opened.join().unwrap().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn who_has_the_first_schema_open_goes_on_when_a_newer_program_comes() {
    let folder = Folder::new();
    first_schema(&folder);
    let older = Connection::open(folder.file()).unwrap();
    let read = || older.query_row("SELECT COUNT(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(read(), 1);
    fill(&folder.store()).await;
    older.execute("INSERT INTO events (value) VALUES ('{}')", []).unwrap();
    assert_eq!(read(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_for_no_write() {
    let folder = Folder::new();
    let store = folder.store();
    fill(&store).await;
    // Another process writes, and this one's writes wait for it, more of them than there are readers.
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.put_project(None, &project(&format!("p-{number}"), 1)).await.unwrap() })
        })
        .collect();
    for _ in 0..20 {
        is_filled(&store).await;
    }
    // Reads that had waited for a write would have come after it.
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "they still wait");
    other.execute_batch("COMMIT").unwrap();
    for written in waiting {
        assert_eq!(written.await.unwrap(), Written::Done);
    }
    assert_eq!(store.projects().await.unwrap().len(), 9, "what was written is read at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_reads_at_once_than_readers_all_come_through() {
    let folder = Folder::new();
    let store = folder.store();
    fill(&store).await;
    let reads = (0..200).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.key(&key(1).digest).await.unwrap() })
    });
    for read in futures_util::future::join_all(reads).await {
        assert_eq!(read.unwrap(), Some(key(1)));
    }
}

#[test]
fn what_is_asked_often_is_found_by_an_index() {
    let folder = Folder::new();
    drop(folder.store());
    let file = Connection::open(folder.file()).unwrap();
    for (sql, found) in [
        ("SELECT * FROM keys WHERE digest = X'00'", "SEARCH keys USING PRIMARY KEY (digest=?)"),
        ("SELECT * FROM keys WHERE project = ''", "SEARCH keys USING INDEX keys_by_name (project=?)"),
        ("SELECT * FROM accounts WHERE lapses <= 1 ORDER BY lapses", "SEARCH accounts USING INDEX accounts_by_lapse"),
        ("SELECT * FROM accounts WHERE project = '' ORDER BY period DESC", "SEARCH accounts USING PRIMARY KEY"),
        (
            "SELECT * FROM usage WHERE project = '' AND span = 60 AND start >= 1 AND start < 2",
            "SEARCH usage USING PRIMARY KEY (project=? AND span=? AND start>? AND start<?)",
        ),
    ] {
        let plan: String = file.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap();
        assert!(plan.starts_with(found), "{sql}: {plan}");
    }
}
