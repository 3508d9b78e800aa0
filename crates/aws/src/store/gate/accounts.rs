//! Accounts: the ledger's rows.
//!
//! An account is one item, which all sidecars that serve its project write in turn, every few seconds each. DynamoDB takes
//! a thousand writes a second of an item; long before that they would lose races against each other, which is why leases
//! are for seconds. A settling is one write unit up to 1 KB, some twenty leases, and two more in the index, because the
//! moment at which the first lease ends moves with each.

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Lease, Period};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{StoreError, Written};

use super::super::{DynamoStore, Query, Row, parse, string, text, to_text};
use super::{SHARDS, shard};
use crate::packed::pack;

/// The index, and its partition key.
const LAPSING: &str = "lapsing";
/// Its sort key.
const LAPSES: &str = "lapses";
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

pub(super) async fn put(store: &DynamoStore, seen: Option<&Account>, account: &Account) -> Result<Written, StoreError> {
    let (kind, id) = (partition(&account.project), account.period.to_string());
    let place = store.in_gate(&kind, &id);
    let mut row = place.row(pack(&to_text(account)));
    if let Some(first) = holding(account).map(|lease| lease.until).min() {
        row.insert(LAPSING.to_owned(), text(shard(account.project.as_str()).to_string()));
        row.insert(LAPSES.to_owned(), text(second(first)));
    }
    store.exchange(place, seen, row, |row| read(store, row)).await
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

/// The second that a time is in, as a text whose order is that of time.
fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
