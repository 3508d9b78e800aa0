//! The embedded store: one SQLite file that several processes may use at once.
//!
//! WAL lets readers and one writer work side by side; a second writer waits up to 5 s. Each call is one
//! transaction. Calls run on tokio's threads for blocking work, because SQLite blocks. Reads have connections of their
//! own, so that the gate's look-ups wait for no write of their process.

mod connections;
mod fleet;
mod gate;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{ErrorCode, OptionalExtension, Row, Transaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use crate::StoreError;
use connections::{Connections, Migrated};

/// What makes each schema from the one before. A file is brought to the last one when it is opened; older programs that
/// run meanwhile must be able to go on, so that a step only adds.
const SCHEMAS: [&str; 3] = [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    connections: Connections,
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
    /// What is wrong with the gate now.
    #[serde(default)]
    pub gate_fault: Option<String>,
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
        match Connections::open(path, &SCHEMAS).map_err(failed)? {
            Migrated::Done(connections) => Ok(Self { connections, path: Arc::new(path.to_owned()) }),
            Migrated::Newer { found, known } => {
                Err(StoreError::Newer { place: path.display().to_string(), found, known })
            }
        }
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

    /// Runs `work` in a transaction that may only read; it waits for no write.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.done(self.connections.read(work).await)
    }

    /// Runs `work` in a transaction that may write.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.done(self.connections.write(work).await)
    }

    /// Runs `work` in a transaction that may write, and whose effect survives a loss of power.
    async fn write_for_good<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.done(self.connections.write_for_good(work).await)
    }

    fn done<T>(&self, done: Result<rusqlite::Result<T>, JoinError>) -> Result<T, StoreError> {
        match done {
            Ok(result) => result.map_err(|error| failed(&self.path, &error)),
            Err(error) => {
                Err(StoreError::Unavailable { place: self.path.display().to_string(), why: error.to_string() })
            }
        }
    }
}

/// A damaged file is told apart from one that is busy: waiting does not mend it.
fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    let place = path.display().to_string();
    if let rusqlite::Error::FromSqlConversionFailure(_, _, source) = error
        && let Some(BadRow { what, why }) = source.downcast_ref()
    {
        return StoreError::Unreadable { place, what, why: why.clone() };
    }
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Unreadable { place, what: "data", why }
        }
        _ => StoreError::Unavailable { place, why },
    }
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {why}")]
struct BadRow {
    what: &'static str,
    why: String,
}

fn bad_row(what: &'static str, why: &(impl ToString + ?Sized)) -> rusqlite::Error {
    let bad = BadRow { what, why: why.to_string() };
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, Box::new(bad))
}

/// The rows that can be read; the others must not hide them.
fn readable<T>(rows: impl Iterator<Item = rusqlite::Result<T>>) -> rusqlite::Result<Vec<T>> {
    let is_bad = |error: &rusqlite::Error| matches!(error, rusqlite::Error::FromSqlConversionFailure(..));
    rows.filter(|row| !row.as_ref().is_err_and(is_bad)).collect()
}

/// A column's text. What somebody put there that is no text comes as something that nobody takes for good: a row that
/// cannot be read must not hide the others.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
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
