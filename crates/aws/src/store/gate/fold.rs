//! Folding: usage of days that have ended long ago is known by the day only, and then forgotten.
//!
//! The time up to which usage is folded is one item, and moves forward only. Once it has moved, minutes before it count no
//! more; removing them changes nothing that a reader sees, so that it may stop anywhere, be done twice, and by several at
//! once. Who does it finds days with minutes in the index `minutes`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_store::{StoreError, Written};

use super::super::batch::delete;
use super::super::{DynamoStore, Expression, Place, Query, Row, string, text, written};
use super::usage::{COUNTS, DAY, MINUTE, MINUTES, kept, starting};
use super::{SHARDS, shard};
use crate::connect::is_code;

/// Rows that are read and removed at once.
const AT_ONCE: usize = 1000;

const A_DAY: Duration = Duration::from_secs(86_400);

fn gone(shard: u32) -> String {
    format!("gone-{shard}")
}

fn place(store: &DynamoStore) -> Place<'_> {
    store.in_gate("usage", "folded")
}

/// The time before which usage is known by the day only.
pub(super) async fn folded(store: &DynamoStore) -> Result<Timestamp, StoreError> {
    let Some(row) = store.get(place(store)).await? else { return Ok(Timestamp::MIN) };
    let time = string(&row, "value").and_then(|time| time.parse().ok());
    let why = "it is no time in UTC";
    time.ok_or_else(|| DynamoStore::unreadable(&store.tables.gate, "up to when usage is folded", why.to_owned()))
}

/// Folds what is before the start of a day.
pub(super) async fn fold(store: &DynamoStore, before: Timestamp) -> Result<u64, StoreError> {
    let before = advance(store, before).await?;
    let mut minutes = 0;
    for shard in 0..SHARDS {
        let mut days = BTreeSet::new();
        let mut start = None;
        loop {
            let (rows, next) = store.page(&days_before(store, &kept(shard), before), AT_ONCE, start).await?;
            days.extend(rows.iter().filter_map(day_of));
            start = next;
            if start.is_none() {
                break;
            }
        }
        for (project, day) in days {
            minutes += remove_minutes(store, &project, day).await?;
        }
    }
    Ok(minutes)
}

/// Forgets days before the start of one, but none that is not folded.
pub(super) async fn forget(store: &DynamoStore, before: Timestamp) -> Result<(), StoreError> {
    let before = before.min(folded(store).await?);
    for shard in 0..SHARDS {
        let mut start = None;
        loop {
            let (rows, next) = store.page(&days_before(store, &gone(shard), before), AT_ONCE, start).await?;
            remove(store, &rows).await?;
            start = next;
            if start.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Says that all before this time is known by the day only; answers with the time that is said now.
async fn advance(store: &DynamoStore, before: Timestamp) -> Result<Timestamp, StoreError> {
    let place = place(store);
    let condition = "attribute_not_exists(#kind) OR #value < :value";
    let condition = Expression::new(condition, &["kind", "value"], [(":value", text(before.to_string()))]);
    let put = store.client.put_item().table_name(place.table).set_item(Some(place.row(text(before.to_string()))));
    let put = put.condition_expression(condition.text).set_expression_attribute_names(condition.names);
    let put = put.set_expression_attribute_values(condition.values).send().await;
    match written(place.table, put)? {
        Written::Done => Ok(before),
        Written::Lost => folded(store).await,
    }
}

fn days_before<'a>(store: &'a DynamoStore, state: &str, before: Timestamp) -> Query<'a> {
    Query::new(&store.tables.usage, MINUTES, state).of_index(MINUTES).up_to("row", &format!("{DAY}{before}"))
}

/// Which project's day a row is about.
fn day_of(row: &Row) -> Option<(String, Timestamp)> {
    let start = string(row, "row")?.strip_prefix(DAY)?.split('#').next()?.parse().ok()?;
    Some((string(row, "project")?.to_owned(), start))
}

/// Removes the minutes of a project's day, and notes at the day's rows that they are gone.
async fn remove_minutes(store: &DynamoStore, project: &str, day: Timestamp) -> Result<u64, StoreError> {
    let end = day.checked_add(A_DAY).unwrap_or(Timestamp::MAX);
    // Read first: to a row that changes meanwhile, minutes may have come.
    let days = store.query(&starting(store, project, DAY, day, end), u32::MAX).await?;
    let mut count = 0;
    let mut start = None;
    loop {
        let (rows, next) = store.page(&starting(store, project, MINUTE, day, end), AT_ONCE, start).await?;
        remove(store, &rows).await?;
        count += rows.len() as u64;
        start = next;
        if start.is_none() {
            break;
        }
    }
    for row in days {
        note_gone(store, project, &row).await?;
    }
    Ok(count)
}

async fn remove(store: &DynamoStore, rows: &[Row]) -> Result<(), StoreError> {
    let keys = rows.iter().filter_map(|row| string(row, "project").zip(string(row, "row")));
    let requests = keys.map(|(project, row)| delete(store.in_usage(project, row).key()));
    store.write_all(&store.tables.usage, requests.collect()).await
}

/// Notes that a day's row has no minutes beside it, if nothing was added to it since it was read. Otherwise it is looked at
/// again the next time.
async fn note_gone(store: &DynamoStore, project: &str, row: &Row) -> Result<(), StoreError> {
    let (Some(id), Some(state)) = (string(row, "row"), string(row, MINUTES)) else { return Ok(()) };
    let shard = shard(project);
    if state != kept(shard) {
        return Ok(());
    }
    let place = store.in_usage(project, id);
    let same = [&[MINUTES], &COUNTS[..]].concat();
    let read = same.iter().map(|name| Some((format!(":{name}"), row.get(*name)?.clone())));
    // A count that is missing was not written by this program; so it looks in vain each time.
    let Some(mut values) = read.collect::<Option<Row>>() else { return Ok(()) };
    values.insert(":gone".to_owned(), text(gone(shard)));
    let condition: Vec<String> = same.iter().map(|name| format!("#{name} = :{name}")).collect();
    let condition = Expression::new(&condition.join(" AND "), &same, []);
    let update = store.client.update_item().table_name(place.table).set_key(Some(place.key()));
    let update = update.update_expression(format!("SET #{MINUTES} = :gone")).condition_expression(condition.text);
    let update = update.set_expression_attribute_names(condition.names).set_expression_attribute_values(Some(values));
    match update.send().await {
        Err(error) if is_code(&error, "TransactionConflictException") => Ok(()),
        // Whether it was done or lost: what comes next is the same.
        sent => written(place.table, sent).map(|_| ()),
    }
}
