//! Usage: rows of minutes, which are folded into rows of days.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow, day, minute};
use nodeweir_domain::name::{LogName, ProjectId};
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use crate::Written;
use crate::sqlite::{bad_row, readable, text, to_json};

/// Rows that are folded in one transaction: some milliseconds, which other writes wait.
const AT_ONCE: u32 = 1000;

/// What a row is about, in seconds.
#[derive(Debug, Clone, Copy)]
enum Span {
    Minute = 60,
    Day = 86_400,
}

/// A row's key as it is stored, which need not be readable to be folded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    project: String,
    start: i64,
    key: String,
    network: String,
    method: String,
    status: i64,
}

impl Stored {
    fn of(key: &UsageKey) -> Self {
        Self {
            project: key.project.to_string(),
            start: key.start.as_second(),
            key: key.key.to_string(),
            network: key.network.to_string(),
            method: key.method.clone(),
            status: key.status.into(),
        }
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            project: text(row, 0)?,
            start: number(row, 2)?,
            key: text(row, 3)?,
            network: text(row, 4)?,
            method: text(row, 5)?,
            status: number(row, 6)?,
        })
    }

    fn read(self) -> rusqlite::Result<UsageKey> {
        let bad = |why: &dyn ToString| bad_row("usage", why);
        Ok(UsageKey {
            start: Timestamp::from_second(self.start).map_err(|error| bad(&error))?,
            project: self.project.parse().map_err(|error| bad(&error))?,
            key: self.key.parse().map_err(|error: String| bad(&error))?,
            network: self.network.parse().map_err(|error| bad(&error))?,
            method: self.method,
            status: self.status.try_into().map_err(|error| bad(&error))?,
        })
    }
}

fn counts(row: &Row<'_>) -> rusqlite::Result<UsageCounts> {
    Ok(UsageCounts {
        requests: count(row, 7)?,
        calls: count(row, 8)?,
        credits: count(row, 9)?,
        milliseconds: count(row, 10)?,
        bytes_in: count(row, 11)?,
        bytes_out: count(row, 12)?,
    })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(number(row, column)?).unwrap_or(0))
}

/// What is no number counts nothing.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        _ => 0,
    })
}

/// SQLite's integers have a sign.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Adds to the row that is there. In Rust, because SQLite makes a sum that is too large a number that is none of ours.
fn add(tx: &Transaction<'_>, span: Span, of: &Stored, more: UsageCounts) -> rusqlite::Result<()> {
    let Stored { project, start, key, network, method, status } = of;
    let sql = "SELECT * FROM usage WHERE project = ?1 AND span = ?2 AND start = ?3 AND key = ?4 AND network = ?5
               AND method = ?6 AND status = ?7";
    let at = params![project, span as i64, start, key, network, method, status];
    let mut sum = tx.prepare_cached(sql)?.query_row(at, counts).optional()?.unwrap_or_default();
    sum += more;
    let sql = "INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    tx.prepare_cached(sql)?.execute(params![
        project,
        span as i64,
        start,
        key,
        network,
        method,
        status,
        stored(sum.requests),
        stored(sum.calls),
        stored(sum.credits),
        stored(sum.milliseconds),
        stored(sum.bytes_in),
        stored(sum.bytes_out),
    ])?;
    Ok(())
}

pub(super) fn cursor(tx: &Transaction<'_>, log: &LogName) -> rusqlite::Result<Option<LogCursor>> {
    let bad = |why: &str| bad_row("how far a log was counted", &format!("{log}: {why}"));
    let read = |row: &Row<'_>| {
        let (ValueRef::Integer(file), ValueRef::Integer(position)) = (row.get_ref(0)?, row.get_ref(1)?) else {
            return Err(bad("two numbers are expected"));
        };
        let ahead = match row.get_ref(2)? {
            ValueRef::Null => None,
            _ => Some(serde_json::from_str(&text(row, 2)?).map_err(|error| bad(&error.to_string()))?),
        };
        Ok(LogCursor { ahead, ..LogCursor::at(file.cast_unsigned(), position.cast_unsigned()) })
    };
    let sql = "SELECT file, position, ahead FROM log_cursors WHERE log = ?1";
    tx.prepare_cached(sql)?.query_row([log.as_str()], read).optional()
}

pub(super) fn record(
    tx: &Transaction<'_>,
    log: &LogName,
    seen: Option<LogCursor>,
    now: LogCursor,
    rows: &[UsageRow],
) -> rusqlite::Result<Written> {
    if cursor(tx, log)? != seen {
        return Ok(Written::Lost);
    }
    for UsageRow { of, counts } in rows {
        add(tx, Span::Minute, &Stored { start: minute(of.start).as_second(), ..Stored::of(of) }, *counts)?;
    }
    let sql = "INSERT OR REPLACE INTO log_cursors (log, file, position, ahead) VALUES (?1, ?2, ?3, ?4)";
    let (file, position) = (now.file.cast_signed(), now.offset.cast_signed());
    let ahead = now.ahead.map(|ahead| to_json(&ahead));
    tx.prepare_cached(sql)?.execute(params![log.as_str(), file, position, ahead])?;
    Ok(Written::Done)
}

pub(super) fn between(
    tx: &Transaction<'_>,
    project: &ProjectId,
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<Vec<UsageRow>> {
    // The first second that starts at `to` or later.
    let end = to.as_second().saturating_add(i64::from(to.subsec_nanosecond() > 0));
    let read = |row: &Row<'_>| Ok(UsageRow { of: Stored::from_row(row)?.read()?, counts: counts(row)? });
    let mut all = Vec::new();
    for (span, start) in [(Span::Day, day(from)), (Span::Minute, minute(from))] {
        let sql = "SELECT * FROM usage WHERE project = ?1 AND span = ?2 AND start >= ?3 AND start < ?4";
        let range = params![project.as_str(), span as i64, start.as_second(), end];
        all.extend(readable(tx.prepare_cached(sql)?.query_map(range, read)?)?);
    }
    all.sort_by(|one: &UsageRow, other| one.of.cmp(&other.of));
    Ok(all)
}

/// The projects that have rows. From each to the next, without looking at what stands between.
pub(super) fn projects(tx: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let sql = "WITH RECURSIVE known (project) AS (
                   SELECT MIN(project) FROM usage
                   UNION ALL
                   SELECT (SELECT MIN(project) FROM usage WHERE project > known.project) FROM known
                   WHERE known.project IS NOT NULL)
               SELECT project FROM known WHERE project IS NOT NULL";
    tx.prepare_cached(sql)?.query_map([], |row| text(row, 0))?.collect()
}

/// Folds some rows of minutes before `before`; none are left when it folded none.
pub(super) fn fold(tx: &Transaction<'_>, project: &str, before: Timestamp) -> rusqlite::Result<u64> {
    // What is deleted is what is counted, whatever stands there.
    let sql = "DELETE FROM usage WHERE (project, span, start, key, network, method, status) IN
                   (SELECT project, span, start, key, network, method, status FROM usage
                    WHERE project = ?1 AND span = ?2 AND start < ?3 LIMIT ?4)
               RETURNING *";
    let range = params![project, Span::Minute as i64, before.as_second(), AT_ONCE];
    let rows: Vec<(Stored, UsageCounts)> = tx
        .prepare_cached(sql)?
        .query_map(range, |row| Ok((Stored::from_row(row)?, counts(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let folded = rows.len() as u64;
    let mut days: BTreeMap<Stored, UsageCounts> = BTreeMap::new();
    for (minute, counts) in rows {
        let start = minute.start.saturating_sub(minute.start.rem_euclid(86_400));
        *days.entry(Stored { start, ..minute }).or_default() += counts;
    }
    for (of, counts) in days {
        add(tx, Span::Day, &of, counts)?;
    }
    Ok(folded)
}

pub(super) fn forget(tx: &Transaction<'_>, project: &str, before: Timestamp) -> rusqlite::Result<()> {
    let sql = "DELETE FROM usage WHERE project = ?1 AND span = ?2 AND start < ?3";
    tx.execute(sql, params![project, Span::Day as i64, before.as_second()])?;
    Ok(())
}
