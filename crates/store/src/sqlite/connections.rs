//! Connections to one file: one that writes, a few that read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

/// How long a call waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// How many reads run at once. More would not be faster (a look-up takes microseconds) and each has a cache of its own.
const READERS: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Connections {
    /// Waited for without a thread, so that a slow disk does not use up the threads that reads need.
    writer: Arc<AsyncMutex<Connection>>,
    readers: Arc<Readers>,
}

/// What became of bringing a file to our schema.
pub(super) enum Migrated {
    /// It has it.
    Done(Connections),
    /// It has a newer one.
    Newer { found: i64, known: i64 },
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Connections {
    /// Opens a file and makes what is missing of `schemas`, each of which follows from the one before.
    pub(super) fn open(path: &Path, schemas: &[&str]) -> rusqlite::Result<Migrated> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        write_ahead(&connection)?;
        lazily(&connection)?;
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = begun.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = i64::try_from(schemas.len()).unwrap_or(i64::MAX);
        if found > known {
            return Ok(Migrated::Newer { found, known });
        }
        if found < known {
            for schema in schemas.iter().skip(usize::try_from(found).unwrap_or(0)) {
                begun.execute_batch(schema)?;
            }
            begun.pragma_update(None, "user_version", known)?;
        }
        begun.commit()?;
        let permits = Arc::new(Semaphore::new(READERS));
        let readers = Arc::new(Readers { path: path.to_owned(), permits, idle: Mutex::default() });
        Ok(Migrated::Done(Self { writer: Arc::new(AsyncMutex::new(connection)), readers }))
    }

    /// Runs `work` in a transaction that may only read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<rusqlite::Result<T>, JoinError> {
        let readers = Arc::clone(&self.readers);
        // It is never closed, so there is always one.
        let permit: Option<OwnedSemaphorePermit> = Arc::clone(&readers.permits).acquire_owned().await.ok();
        spawn_blocking(move || {
            let mut connection = readers.take()?;
            let done = within(&mut connection, TransactionBehavior::Deferred, work);
            readers.give_back(connection);
            drop(permit);
            done
        })
        .await
    }

    /// Runs `work` in a transaction that may write.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<rusqlite::Result<T>, JoinError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        spawn_blocking(move || within(&mut writer, TransactionBehavior::Immediate, work)).await
    }

    /// Runs `work` in a transaction that may write, and waits for the disk, so that a loss of power undoes neither it nor
    /// what was written before.
    pub(super) async fn write_for_good<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<rusqlite::Result<T>, JoinError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        spawn_blocking(move || {
            writer.pragma_update(None, "synchronous", "FULL")?;
            let done = within(&mut writer, TransactionBehavior::Immediate, work);
            lazily(&writer)?;
            done
        })
        .await
    }
}

impl Readers {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// A failure, or a panic, rolls the transaction back.
fn within<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// With WAL, NORMAL loses at most the last commits on power loss, never consistency. What flows write, the next run
/// repeats; sidecars, and what they spent last, are gone with the machine.
fn lazily(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "NORMAL")
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
