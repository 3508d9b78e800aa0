//! Usage: what is read from a log is added to rows of minutes and of days.
//!
//! Both rows are written at once, in the transaction that moves the log's cursor. So nothing has to be moved from one to
//! the other later, which no reader could be kept from seeing half done: a query of DynamoDB is no snapshot, and sees
//! what a transaction wrote row by row. Which rows count is one item, the time up to which usage is folded: days before
//! it, minutes after it. [`fold`](super::fold) moves it and then removes minutes that count no more.
//!
//! A row is written with `ADD`, so that many sidecars add up without reading. `ADD` does not stop at the most that 64 bits
//! hold: DynamoDB goes on counting to 38 digits, and readers take what is beyond 64 bits for the most. A method stands in
//! a sort key, which has at most 1,024 bytes; those that are counted by their name have a tenth.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use jiff::Timestamp;
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow, day, minute};
use nodeweir_domain::name::{LogName, ProjectId};
use nodeweir_store::{Kept, StoreError, Written};

use super::super::transaction::{self, Outcome};
use super::super::{DynamoStore, Expression, Place, Query, Row, busy, expiry, parse, string, text, to_text};
use super::fold::folded;
use super::shard;
use crate::packed::pack;

/// Starts of sort keys.
pub(super) const MINUTE: &str = "minute#";
pub(super) const DAY: &str = "day#";

/// The index, and its partition key.
pub(super) const MINUTES: &str = "minutes";

/// In the order of [`counts`].
pub(super) const COUNTS: [&str; 6] = ["requests", "calls", "credits", "milliseconds", "bytes_in", "bytes_out"];

/// How much longer than promised the table keeps cursors and days by itself. Days are forgotten before, by whoever folds.
const MORE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often usage is read anew because it was folded meanwhile, which happens once a day.
const LOOKS: usize = 5;

/// Whether minutes may still stand beside a day's row.
pub(super) fn kept(shard: u32) -> String {
    format!("kept-{shard}")
}

fn counts(of: &UsageCounts) -> [u64; 6] {
    let UsageCounts { requests, calls, credits, milliseconds, bytes_in, bytes_out } = *of;
    [requests, calls, credits, milliseconds, bytes_in, bytes_out]
}

/// A row's sort key.
fn id(span: &str, start: Timestamp, of: &UsageKey) -> String {
    let UsageKey { key, network, method, status, .. } = of;
    format!("{span}{start}#{key}#{network}#{status}#{method}")
}

/// A row that can be read.
fn read(row: &Row) -> Option<UsageRow> {
    let id = string(row, "row")?;
    let mut parts = id.strip_prefix(MINUTE).or_else(|| id.strip_prefix(DAY))?.splitn(5, '#');
    let mut next = || parts.next();
    let (start, key, network, status, method) = (next()?, next()?, next()?, next()?, next()?);
    let of = UsageKey {
        start: start.parse().ok()?,
        project: string(row, "project")?.parse().ok()?,
        key: key.parse().ok()?,
        network: network.parse().ok()?,
        method: method.to_owned(),
        status: status.parse().ok()?,
    };
    let count = |name: &str| {
        let digits = row.get(name)?.as_n().ok()?;
        Some(u64::try_from(digits.parse::<u128>().ok()?).unwrap_or(u64::MAX))
    };
    let counts = UsageCounts {
        requests: count("requests")?,
        calls: count("calls")?,
        credits: count("credits")?,
        milliseconds: count("milliseconds")?,
        bytes_in: count("bytes_in")?,
        bytes_out: count("bytes_out")?,
    };
    Some(UsageRow { of, counts })
}

fn cursor_partition(log: &LogName) -> String {
    format!("log#{log}")
}

fn read_cursor(store: &DynamoStore, log: &LogName, row: &Row) -> Result<LogCursor, StoreError> {
    let bad = |why| DynamoStore::unreadable(&store.tables.gate, "how far a log was counted", format!("{log}: {why}"));
    parse(row).map_err(bad)
}

pub(super) async fn cursor(store: &DynamoStore, log: &LogName) -> Result<Option<LogCursor>, StoreError> {
    let row = store.get(store.in_gate(&cursor_partition(log), "cursor")).await?;
    row.map(|row| read_cursor(store, log, &row)).transpose()
}

pub(super) async fn record(
    store: &DynamoStore,
    log: &LogName,
    seen: Option<LogCursor>,
    now: LogCursor,
    rows: &[UsageRow],
) -> Result<Written, StoreError> {
    let kind = cursor_partition(log);
    let place = store.in_gate(&kind, "cursor");
    let mut moved = place.row(pack(&to_text(&now)));
    moved.insert("expires".to_owned(), expiry(Kept::USAGE_MINUTES + MORE));
    let additions = additions(store, rows);
    // As this version of the program spells it; another one's is read first.
    let mut before = seen.map(|seen| place.row(pack(&to_text(&seen))));
    for _ in 0..2 {
        let mut writes = Vec::with_capacity(additions.len() + 1);
        writes.push(transaction::put(place, moved.clone(), Expression::still(place, before.as_ref())));
        writes.extend(additions.iter().cloned());
        match store.transact(&store.tables.usage, writes).await? {
            Outcome::Done => return Ok(Written::Done),
            Outcome::Impossible(why) => return Err(DynamoStore::unreadable(&store.tables.usage, "usage", why)),
            Outcome::Refused(_) => {}
        }
        before = store.get(place).await?;
        if before.as_ref().map(|row| read_cursor(store, log, row)).transpose()? != seen {
            return Ok(Written::Lost);
        }
    }
    Ok(Written::Lost)
}

/// What is added to which rows; each row once, as a transaction demands.
fn additions(store: &DynamoStore, rows: &[UsageRow]) -> Vec<TransactWriteItem> {
    let mut minutes: BTreeMap<(&str, String), UsageCounts> = BTreeMap::new();
    let mut days: BTreeMap<(&str, String), (Timestamp, UsageCounts)> = BTreeMap::new();
    for UsageRow { of, counts } in rows {
        let project = of.project.as_str();
        *minutes.entry((project, id(MINUTE, minute(of.start), of))).or_default() += *counts;
        let start = day(of.start);
        let (_, sum) = days.entry((project, id(DAY, start, of))).or_insert((start, UsageCounts::default()));
        *sum += *counts;
    }
    let minutes = minutes.iter().map(|((project, row), counts)| add(store.in_usage(project, row), counts, []));
    let days = days.iter().map(|((project, row), (start, counts))| {
        let age = Kept::USAGE_DAYS + MORE + Duration::from_secs(86_400);
        let expires = start.checked_add(age).unwrap_or(Timestamp::MAX).as_second();
        let more = [(MINUTES, text(kept(shard(project)))), ("expires", AttributeValue::N(expires.to_string()))];
        add(store.in_usage(project, row), counts, more)
    });
    minutes.chain(days).collect()
}

/// Adds to a row, and sets what else it has.
fn add<const N: usize>(
    place: Place<'_>,
    more: &UsageCounts,
    set: [(&'static str, AttributeValue); N],
) -> TransactWriteItem {
    let clause = |verb: &str, with: &str, names: &[&str]| {
        let parts: Vec<String> = names.iter().map(|name| format!("#{name}{with}:{name}")).collect();
        if parts.is_empty() { String::new() } else { format!("{verb} {} ", parts.join(", ")) }
    };
    let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
    let change = clause("SET", " = ", &names) + &clause("ADD", " ", &COUNTS);
    let mut change = Expression::new(&change, &[&names[..], &COUNTS].concat(), []);
    let counts = COUNTS.into_iter().zip(counts(more)).map(|(name, more)| (name, AttributeValue::N(more.to_string())));
    change.values = Some(set.into_iter().chain(counts).map(|(name, value)| (format!(":{name}"), value)).collect());
    transaction::update(place, change)
}

pub(super) async fn between(
    store: &DynamoStore,
    project: &ProjectId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<UsageRow>, StoreError> {
    // The first minute that starts at `to` or later.
    let end = if minute(to) == to { to } else { minute(to).checked_add(Duration::from_secs(60)).unwrap_or(to) };
    for _ in 0..LOOKS {
        let folded = folded(store).await?;
        let mut rows = spanning(store, project, DAY, day(from), end.min(folded)).await?;
        if end > folded {
            rows.extend(spanning(store, project, MINUTE, minute(from).max(folded), end).await?);
            if self::folded(store).await? != folded {
                // Some of these minutes may have been gone.
                continue;
            }
        }
        rows.sort_by(|one, other| one.of.cmp(&other.of));
        return Ok(rows);
    }
    Err(busy(&store.tables.usage, "its usage is being folded into days"))
}

async fn spanning(
    store: &DynamoStore,
    project: &ProjectId,
    span: &str,
    from: Timestamp,
    end: Timestamp,
) -> Result<Vec<UsageRow>, StoreError> {
    if from >= end {
        return Ok(Vec::new());
    }
    let rows = store.query(&starting(store, project.as_str(), span, from, end), u32::MAX).await?;
    Ok(rows.iter().filter_map(read).collect())
}

/// Rows of a span that start in `from..end`, which is not empty.
pub(super) fn starting<'a>(
    store: &'a DynamoStore,
    project: &str,
    span: &str,
    from: Timestamp,
    end: Timestamp,
) -> Query<'a> {
    // A row at the very end begins like this, and goes on.
    let [from, end] = [from, end].map(|at| format!("{span}{at}"));
    Query::new(&store.tables.usage, "project", project).between("row", &from, &end)
}
