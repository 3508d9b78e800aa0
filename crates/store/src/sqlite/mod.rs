//! The embedded store: one SQLite file that several processes may use at once.
//!
//! WAL lets readers and one writer work side by side; a second writer waits up to 5 s. Each call is one
//! transaction. Calls run on tokio's threads for blocking work, because SQLite blocks.

mod fleet;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// How long a call waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// The schema that this program writes.
const SCHEMA: i64 = 1;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    path: Arc<PathBuf>,
}

/// What a running `nodeweir up` says of itself, for `status` in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// When it said so; older than a few seconds means that it does not run.
    pub at: Timestamp,
    /// Its process.
    pub pid: u32,
    /// Which proxy, with its version.
    pub proxy: String,
    /// The revision that the proxy says it runs.
    pub running: Option<String>,
    /// A published revision that the proxy's checker rejected: its name and what the checker said.
    pub rejected: Option<(String, String)>,
    /// Anything else that is wrong now.
    pub fault: Option<String>,
}

impl SqliteStore {
    /// Opens the file, creating it where it is not there. Only the owner may read it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| failed(path, &error);
        // SQLite would create it as the umask says; the files that it puts beside it take this one's mode. One that is
        // there is not opened: closing it would end the locks that another connection of this process holds on it.
        match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::Unavailable { place: path.display().to_string(), why: error.to_string() });
            }
            _ => {}
        }
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        write_ahead(&connection).map_err(failed)?;
        // With WAL, NORMAL loses at most the last commits on power loss, never consistency; the next tick repeats them.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let found: i64 = begun.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { place: path.display().to_string(), found, known: SCHEMA });
        }
        if found < SCHEMA {
            begun.execute_batch(include_str!("schema.sql")).map_err(failed)?;
            begun.pragma_update(None, "user_version", SCHEMA).map_err(failed)?;
        }
        begun.commit().map_err(failed)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path: Arc::new(path.to_owned()) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Counts edits of the node list and of the rollback in force; it changes with each, whichever process makes it.
    pub async fn edits(&self) -> Result<u64, StoreError> {
        Ok(self.single("edits").await?.unwrap_or(0))
    }

    /// What the running program last said of itself.
    pub async fn runtime(&self) -> Result<Option<Runtime>, StoreError> {
        self.single("runtime").await
    }

    /// Says it.
    pub async fn put_runtime(&self, runtime: &Runtime) -> Result<(), StoreError> {
        let value = to_json(runtime);
        self.write(move |tx| put_single(tx, "runtime", Some(&value))).await
    }

    /// A value that cannot be read is as good as none: whoever writes it next replaces it.
    async fn single<T: DeserializeOwned + Send + 'static>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let text = self.call(move |tx| single(tx, name)).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Runs `work` in a transaction that may only read; many can run at once.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(TransactionBehavior::Deferred, work).await
    }

    /// Runs `work` in a transaction that may write.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(TransactionBehavior::Immediate, work).await
    }

    async fn transact<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            // A thread that panicked here left a transaction behind that SQLite has rolled back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok::<T, rusqlite::Error>(value)
        });
        match done.await {
            Ok(result) => result.map_err(|error| failed(&self.path, &error)),
            Err(error) => {
                Err(StoreError::Unavailable { place: self.path.display().to_string(), why: error.to_string() })
            }
        }
    }
}

/// A damaged file is told apart from one that is busy: waiting does not mend it.
fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (place, why) = (path.display().to_string(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Unreadable { place, what: "data", why }
        }
        _ => StoreError::Unavailable { place, why },
    }
}

/// A column's text. What somebody put there that is no text comes as something that nobody takes for good: a row that
/// cannot be read must not hide the others.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
}

/// Switches to WAL. While several do so on a fresh file, SQLite says at once that it is busy instead of waiting.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The domain's types are made of texts, numbers and maps with text keys; writing them as JSON cannot fail.
fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn single(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<String>> {
    tx.query_row("SELECT value FROM singles WHERE name = ?1", [name], |row| text(row, 0)).optional()
}

fn put_single(tx: &Transaction<'_>, name: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => tx.execute("INSERT OR REPLACE INTO singles (name, value) VALUES (?1, ?2)", [name, value])?,
        None => tx.execute("DELETE FROM singles WHERE name = ?1", [name])?,
    };
    Ok(())
}

/// Counts an edit by a person, so that the running program notices it.
fn count_edit(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO singles (name, value) VALUES ('edits', '1')
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
        [],
    )?;
    Ok(())
}
