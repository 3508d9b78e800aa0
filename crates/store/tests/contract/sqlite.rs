//! The embedded store, and what only it promises.

mod gate;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nodeweir_domain::gate::usage::{LogCursor, minute};
use nodeweir_store::sqlite::{Runtime, SqliteStore};
use nodeweir_store::{FleetStore, GateStore, Kept, StoreError, Written};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::samples::gate::{account, key, log, period, project_id, usage};
use crate::samples::{at, event, item, network, node, pin, revision, seen, status};
use crate::{Place, Row, contract};

/// A file in a folder of its own.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).unwrap()
    }

    /// Past the store.
    fn run(&self, sql: &str) {
        Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }
}

/// No JSON, JSON of another shape, bytes that are not even text, and no text at all.
const DAMAGES: [&str; 5] = ["'{\"half\": '", "'[7]'", "CAST(X'ff00fe' AS TEXT)", "X'00ff'", "7"];

impl Place for Folder {
    type Store = SqliteStore;
    const DAMAGES: usize = DAMAGES.len();

    async fn open(&self) -> SqliteStore {
        self.store()
    }

    async fn spoil(&self, row: Row, damage: usize) {
        let damage = DAMAGES[damage];
        self.run(&match row {
            Row::Item => format!("INSERT OR REPLACE INTO nodes VALUES ('ethereum', 'a', {damage})"),
            Row::Status => format!("INSERT OR REPLACE INTO statuses VALUES ('ethereum', 'a', {damage})"),
            Row::NamelessStatus => format!("INSERT OR REPLACE INTO statuses VALUES ('', {damage}, {damage})"),
            Row::Seen => format!("INSERT OR REPLACE INTO seen VALUES ('ethereum', {damage}, {damage})"),
            Row::Pin => format!("INSERT OR REPLACE INTO singles VALUES ('pin', {damage})"),
            Row::Revision => {
                format!("UPDATE revisions SET name = {damage}, at = {damage}, text = {damage} WHERE seq = 2")
            }
            Row::Event => format!("INSERT INTO events (value) VALUES ({damage})"),
            Row::Project => format!("INSERT OR REPLACE INTO projects VALUES ('shop', {damage})"),
            Row::Key => format!(
                "INSERT OR REPLACE INTO keys VALUES (X'{}', 'shop', 'one', 1, {damage}, NULL, NULL, {damage})",
                key(1).digest
            ),
            Row::Account => format!("INSERT OR REPLACE INTO accounts VALUES ('shop', '2026-11', 0, {damage})"),
            // What looks like a number would be one.
            Row::LogCursor => {
                format!("INSERT OR REPLACE INTO log_cursors VALUES ('proxy-1', 7, 'at ' || {damage}, NULL)")
            }
            Row::Usage => format!(
                "INSERT INTO usage VALUES ('shop', 60, {}, 'no key', {damage}, {damage}, 200, 1, 1, 1, 1, 1, 1)",
                minute(at(0)).as_second()
            ),
        });
    }
}

contract!(fleet: Folder::new());
contract!(gate: Folder::new());

#[tokio::test]
async fn old_events_go() {
    let folder = Folder::new();
    let store = folder.store();
    let kept = u64::from(Kept::EVENTS);
    let all: Vec<_> = (0..kept + 10).map(event).collect();
    let (most, last) = all.split_at(all.len() - 5);
    store.record_events(most).await.unwrap();
    store.record_events(last).await.unwrap();
    let events = store.events(u32::MAX).await.unwrap();
    assert_eq!(events.len() as u64, kept);
    assert_eq!((events.first(), events.last()), (all.last(), all.get(10)));
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = Folder::new();
    let (ethereum, a) = (network("ethereum"), node("a"));
    let item = item("ethereum", "a", json!({"url": "http://a"}));
    {
        let store = folder.store();
        assert_eq!(store.put_item(None, &item).await.unwrap(), Written::Done);
        assert_eq!(store.put_seen(&ethereum, None, &seen(1)).await.unwrap(), Written::Done);
        assert_eq!(store.put_status(&ethereum, &a, None, Some(&status(1))).await.unwrap(), Written::Done);
        assert_eq!(store.put_pin(None, Some(&pin(1))).await.unwrap(), Written::Done);
        store.record_revision(&revision(1)).await.unwrap();
        store.record_events(&[event(1)]).await.unwrap();
        gate::fill(&store).await;
    }
    let store = folder.store();
    gate::is_filled(&store).await;
    assert_eq!(store.items().await.unwrap(), [item]);
    let health = &store.health().await.unwrap()[&ethereum];
    assert_eq!((&health.seen, &health.statuses[&a]), (&seen(1), &status(1)));
    assert_eq!(store.pin().await.unwrap(), Some(pin(1)));
    assert_eq!(store.revision(1).await.unwrap(), Some(revision(1)));
    assert_eq!(store.events(9).await.unwrap(), [event(1)]);
    assert_eq!(store.edits().await.unwrap(), 2);
}

#[tokio::test]
async fn edits_count_what_people_change_whichever_handle_they_use() {
    let folder = Folder::new();
    let (one, other) = (folder.store(), folder.store());
    let (ethereum, a) = (network("ethereum"), node("a"));
    let [first, second] = [1, 2].map(|weight| item("ethereum", "a", json!({"weight": weight})));
    assert_eq!(one.edits().await.unwrap(), 0);

    assert_eq!(other.put_item(None, &first).await.unwrap(), Written::Done);
    assert_eq!(one.edits().await.unwrap(), 1);
    assert_eq!(other.put_item(Some(&first), &second).await.unwrap(), Written::Done);
    assert_eq!(one.edits().await.unwrap(), 2);
    assert_eq!(other.remove_item(&second).await.unwrap(), Written::Done);
    assert_eq!(one.edits().await.unwrap(), 3);
    assert_eq!(other.put_pin(None, Some(&pin(1))).await.unwrap(), Written::Done);
    assert_eq!(one.edits().await.unwrap(), 4);
    assert_eq!(other.put_pin(Some(&pin(1)), None).await.unwrap(), Written::Done);
    assert_eq!((one.edits().await.unwrap(), other.edits().await.unwrap()), (5, 5));

    // Lost writes and what the program itself writes are no edits.
    assert_eq!(other.put_item(Some(&first), &second).await.unwrap(), Written::Lost);
    assert_eq!(other.remove_item(&first).await.unwrap(), Written::Lost);
    assert_eq!(other.put_pin(Some(&pin(1)), None).await.unwrap(), Written::Lost);
    assert_eq!(other.put_seen(&ethereum, None, &seen(1)).await.unwrap(), Written::Done);
    assert_eq!(other.put_status(&ethereum, &a, None, Some(&status(1))).await.unwrap(), Written::Done);
    other.record_revision(&revision(1)).await.unwrap();
    other.record_events(&[event(1)]).await.unwrap();
    other.put_runtime(&runtime(1)).await.unwrap();
    assert_eq!(one.edits().await.unwrap(), 5);
}

fn runtime(second: u64) -> Runtime {
    Runtime {
        at: at(second),
        pid: 7,
        proxy: "nginx 1.30.6".to_owned(),
        running: Some("1-ab".to_owned()),
        rejected: Some(("2-cd".to_owned(), "no".to_owned())),
        gate_fault: Some("the gate has ended".to_owned()),
        fault: None,
    }
}

#[tokio::test]
async fn what_the_running_program_says_is_read_by_others() {
    let folder = Folder::new();
    let (one, other) = (folder.store(), folder.store());
    assert_eq!(other.runtime().await.unwrap(), None);
    for second in [1, 2] {
        one.put_runtime(&runtime(second)).await.unwrap();
        assert_eq!(other.runtime().await.unwrap(), Some(runtime(second)));
    }
    folder.run("UPDATE singles SET value = 'no' WHERE name = 'runtime'");
    assert_eq!(other.runtime().await.unwrap(), None, "what cannot be read says nothing");
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = Folder::new();
    let store = folder.store();
    store.record_events(&[event(1)]).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.0.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    assert!(names.len() > 1, "the log of writes is a file too: {names:?}");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(folder.store());
    folder.run("PRAGMA user_version = 99");
    let error = SqliteStore::open(&folder.file()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("newer Nodeweir"), "{error}");
    let left: i64 =
        Connection::open(folder.file()).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(left, 99);
}

#[tokio::test]
async fn damage_is_an_error_that_says_so_and_never_a_panic() {
    let folder = Folder::new();
    fs::write(folder.file(), "this is no database, but it is longer than its header would be ".repeat(100)).unwrap();
    let error = SqliteStore::open(&folder.file()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    assert!(error.to_string().contains("state.db") && error.to_string().contains("not a database"), "{error}");

    // Damage anywhere: half a page of it, at each place in turn.
    let folder = Folder::new();
    {
        let store = folder.store();
        for name in ["a", "b", "c"] {
            let item = item("ethereum", name, json!({"url": "http://a", "note": "x".repeat(3000)}));
            assert_eq!(store.put_item(None, &item).await.unwrap(), Written::Done);
            store.record_revision(&revision(1)).await.unwrap();
            store.record_events(&[event(1)]).await.unwrap();
        }
        gate::fill(&store).await;
    }
    folder.run("PRAGMA wal_checkpoint(TRUNCATE)");
    let good = fs::read(folder.file()).unwrap();
    let mut refusals = 0;
    for start in (0..good.len()).step_by(2048) {
        let folder = Folder::new();
        let mut bad = good.clone();
        let end = bad.len().min(start + 2048);
        bad[start..end].fill(0xa5);
        fs::write(folder.file(), &bad).unwrap();
        let Ok(store) = SqliteStore::open(&folder.file()) else {
            refusals += 1;
            continue;
        };
        let shop = project_id("shop");
        let read = [
            store.project(&shop).await.err(),
            store.key(&key(1).digest).await.err(),
            store.accounts(&shop).await.err(),
            store.usage(&shop, at(0), at(1)).await.err(),
            store.items().await.err(),
            store.health().await.err(),
            store.events(9).await.err(),
            store.revision(1).await.err(),
        ];
        for error in read.into_iter().flatten() {
            assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
            refusals += 1;
        }
    }
    assert!(refusals > 5, "{refusals}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = Folder::new();
    for file in [folder.0.path().join("missing/state.db"), folder.0.path().to_owned()] {
        let error = SqliteStore::open(&file).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}

#[test]
fn a_fresh_file_may_be_opened_by_many_at_once() {
    for _ in 0..20 {
        let folder = Folder::new();
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteStore::open(&folder.file()))).collect();
            for opened in opening {
                opened.join().unwrap().unwrap();
            }
        });
    }
}

/// Names the file for [`one_of_several_processes`].
const FILE_VARIABLE: &str = "NODEWEIR_TEST_STATE_FILE";
const PROCESSES: u64 = 4;
const EACH: u64 = 40;

#[test]
fn several_processes_write_at_once_and_lose_nothing() {
    let folder = Folder::new();
    let run = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "sqlite::one_of_several_processes"]).env(FILE_VARIABLE, folder.file());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..PROCESSES).map(run).collect();
    for process in running {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = folder.store();
    let items = runtime.block_on(store.items()).unwrap();
    assert_eq!(items[0].attributes["weight"], PROCESSES * EACH);
    assert_eq!(runtime.block_on(store.events(u32::MAX)).unwrap().len() as u64, PROCESSES * EACH);
    let account = runtime.block_on(store.account(&project_id("shop"), period("2026-11"))).unwrap().unwrap();
    assert_eq!((account.granted, account.spent), (1000, PROCESSES * EACH));
    let rows = runtime.block_on(store.usage(&project_id("shop"), at(0), at(1))).unwrap();
    assert_eq!(rows[0].counts.calls, PROCESSES * EACH);
    let keys = runtime.block_on(store.keys(&project_id("shop"))).unwrap();
    assert_eq!(keys.len(), 1, "they all have the same name");
}

#[tokio::test]
#[ignore = "run by `several_processes_write_at_once_and_lose_nothing`, in a process of its own"]
async fn one_of_several_processes() {
    let Some(file) = std::env::var_os(FILE_VARIABLE) else { return };
    let store = SqliteStore::open(file.as_ref()).unwrap();
    for _ in 0..EACH {
        loop {
            let seen = store.items().await.unwrap().into_iter().next();
            let count = seen.as_ref().map_or(0, |item| item.attributes["weight"].as_u64().unwrap());
            let more = item("ethereum", "a", json!({"weight": count + 1}));
            if store.put_item(seen.as_ref(), &more).await.unwrap() == Written::Done {
                break;
            }
        }
        store.record_events(&[event(1)]).await.unwrap();
        loop {
            let seen = store.account(&project_id("shop"), period("2026-11")).await.unwrap();
            let mut more = seen.clone().unwrap_or_else(|| account(1000));
            more.spent += 1;
            if store.put_account(seen.as_ref(), &more).await.unwrap() == Written::Done {
                break;
            }
        }
        loop {
            let seen = store.log_cursor(&log()).await.unwrap();
            let now = LogCursor::at(1, seen.map_or(0, |seen| seen.offset) + 1);
            if store.record_usage(&log(), seen, now, &[usage(0, "eth_call", 1)]).await.unwrap() == Written::Done {
                break;
            }
        }
    }
    let _ = store.put_key(None, &key(std::process::id().into())).await.unwrap();
}
