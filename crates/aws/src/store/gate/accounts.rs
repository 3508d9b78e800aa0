//! Accounts: the ledger's rows.
//!
//! An account is one item, which all sidecars that serve its project write in turn, every few seconds each. DynamoDB takes
//! a thousand writes a second of an item; long before that they would lose races against each other, which is why leases
//! are for seconds. A settling is one write unit up to 1 KB, some ten leases, and now and then two more in the index.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Lease, Period};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Each, LAPSE_LAG, StoreError, Written};

use super::super::statement::{self, Replaced};
use super::super::{DynamoStore, Place, Query, Row, busy, parse, string, text, to_text};
use super::{SHARDS, shard};
use crate::packed::pack;

/// The index, and its partition key.
const LAPSING: &str = "lapsing";
/// Its sort key.
const LAPSES: &str = "lapses";
/// It stands behind all times.
const NEVER: &str = "never";
/// Start of the partition of a project's accounts.
const ACCOUNTS: &str = "accounts#";

fn partition(project: &ProjectId) -> String {
    format!("{ACCOUNTS}{project}")
}

fn read(store: &DynamoStore, row: &Row) -> Result<Account, StoreError> {
    let [kind, period] = ["kind", "id"].map(|key| string(row, key).unwrap_or_default());
    let project = kind.strip_prefix(ACCOUNTS).unwrap_or_default();
    let bad = |why: String| {
        DynamoStore::unreadable(&store.tables.gate, "an account", format!("{project} in {period}: {why}"))
    };
    let account: Account = parse(row).map_err(bad)?;
    if account.project.as_str() == project && account.period.to_string() == period {
        Ok(account)
    } else {
        Err(bad(format!("it says that it is of {} in {}", account.project, account.period)))
    }
}

pub(super) async fn find(
    store: &DynamoStore,
    project: &ProjectId,
    period: Period,
) -> Result<Option<Account>, StoreError> {
    let row = store.get(store.in_gate(&partition(project), &period.to_string())).await?;
    row.map(|row| read(store, &row)).transpose()
}

pub(super) async fn of(store: &DynamoStore, project: &ProjectId) -> Result<Vec<Account>, StoreError> {
    let asked = Query::new(&store.tables.gate, "kind", &partition(project)).newest_first();
    let rows = store.query(&asked, u32::MAX).await?;
    Ok(rows.iter().filter_map(|row| read(store, row).ok()).collect())
}

pub(super) async fn find_each(store: &DynamoStore, of: &[(ProjectId, Period)]) -> Each<Option<Account>> {
    let keys: Vec<_> = of.iter().map(|(project, period)| (partition(project), period.to_string())).collect();
    let places: Vec<_> = keys.iter().map(|(kind, id)| store.in_gate(kind, id)).collect();
    store.find_each(&places, |row| read(store, row)).await
}

pub(super) async fn put(store: &DynamoStore, seen: Option<&Account>, account: &Account) -> Result<Written, StoreError> {
    let (kind, id) = (partition(&account.project), account.period.to_string());
    let place = store.in_gate(&kind, &id);
    store.exchange(place, seen, row(place, account), |row| read(store, row)).await
}

pub(super) async fn put_each(store: &DynamoStore, changes: &[(Option<Account>, Account)]) -> Each<Written> {
    let mut each = Vec::with_capacity(changes.len());
    let mut statements = Vec::new();
    for (seen, account) in changes {
        // A month's first one is new, for which there is no such statement.
        let Some(seen) = seen else { continue };
        let (kind, id) = (partition(&account.project), account.period.to_string());
        let set = attributes(account);
        statements.push(statement::replace(store.in_gate(&kind, &id), &pack(&to_text(seen)), &set));
    }
    let mut replaced = store.replace_each(&store.tables.gate, statements).await.into_iter();
    for (seen, account) in changes {
        let Some(seen) = seen else {
            each.push(put(store, None, account).await);
            continue;
        };
        each.push(match replaced.next() {
            Some(Ok(Replaced::Done)) => Ok(Written::Done),
            // It may mean the same and be spelled by another version of the program, or not be readable.
            Some(Ok(Replaced::Differs(Some(row)))) => match read(store, &row) {
                Ok(there) if there == *seen => put(store, Some(seen), account).await,
                Ok(_) => Ok(Written::Lost),
                Err(error) => Err(error),
            },
            Some(Ok(Replaced::Differs(None))) => Ok(Written::Lost),
            Some(Err(error)) => Err(error),
            None => Err(busy(&store.tables.gate, "it did not answer for each account")),
        });
    }
    each
}

fn row(place: Place<'_>, account: &Account) -> Row {
    let mut row = place.key();
    row.extend(attributes(account).map(|(name, value)| (name.to_owned(), value)));
    row
}

/// All but the keys.
fn attributes(account: &Account) -> [(&'static str, AttributeValue); 3] {
    let first = holding(account).map(|lease| lease.until).min();
    [
        ("value", pack(&to_text(account))),
        (LAPSING, text(shard(account.project.as_str()).to_string())),
        (LAPSES, text(first.map_or(NEVER.to_owned(), mark))),
    ]
}

pub(super) async fn lapsed(store: &DynamoStore, ended: Timestamp, most: u32) -> Result<Vec<Account>, StoreError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for shard in 0..SHARDS {
        let asked = Query::new(&store.tables.gate, LAPSING, &shard.to_string()).of_index(LAPSING);
        rows.extend(store.query(&asked.up_to(LAPSES, &second(ended)), most).await?);
    }
    rows.sort_by(|one, other| string(one, LAPSES).cmp(&string(other, LAPSES)));
    let mut found = Vec::new();
    for row in rows {
        let Some((kind, id)) = string(&row, "kind").zip(string(&row, "id")) else { continue };
        // The index says where to look, and may be late; and its times are whole seconds.
        let Some(row) = store.get(store.in_gate(kind, id)).await? else { continue };
        let Ok(account) = read(store, &row) else { continue };
        if holding(&account).any(|lease| lease.until < ended) {
            found.push(account);
        }
        if u32::try_from(found.len()).is_ok_and(|found| found >= most) {
            break;
        }
    }
    Ok(found)
}

fn holding(account: &Account) -> impl Iterator<Item = &Lease> {
    account.leases.values().filter(|lease| lease.amount > 0)
}

/// The first mark at which a lease will have ended that ends at this time, as a text whose order is that of time. Marks are
/// far apart, or each settling would move the account in the index, which is paid for twice.
fn mark(ends: Timestamp) -> String {
    let step = i64::try_from(LAPSE_LAG.as_secs()).unwrap_or(i64::MAX);
    let mark = (ends.as_second().div_euclid(step)).saturating_add(1).saturating_mul(step);
    second(Timestamp::from_second(mark).unwrap_or(Timestamp::MAX))
}

/// The second that a time is in, likewise.
fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
