//! Accounts: the ledger's rows.

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Lease, Period};
use nodeweir_domain::name::ProjectId;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use crate::Written;
use crate::sqlite::{bad_row, readable, text, to_json};

fn read(row: &Row<'_>) -> rusqlite::Result<Account> {
    let (project, period) = (text(row, 0)?, text(row, 1)?);
    let bad = |why: String| bad_row("an account", &format!("{project} in {period}: {why}"));
    let account: Account = serde_json::from_str(&text(row, 2)?).map_err(|error| bad(error.to_string()))?;
    if account.project.as_str() == project && account.period.to_string() == period {
        Ok(account)
    } else {
        Err(bad(format!("it says that it is of {} in {}", account.project, account.period)))
    }
}

pub(super) fn find(tx: &Transaction<'_>, project: &ProjectId, period: Period) -> rusqlite::Result<Option<Account>> {
    let sql = "SELECT project, period, value FROM accounts WHERE project = ?1 AND period = ?2";
    tx.prepare_cached(sql)?.query_row([project.as_str(), &period.to_string()], read).optional()
}

pub(super) fn of(tx: &Transaction<'_>, project: &ProjectId) -> rusqlite::Result<Vec<Account>> {
    let sql = "SELECT project, period, value FROM accounts WHERE project = ?1 ORDER BY period DESC";
    readable(tx.prepare_cached(sql)?.query_map([project.as_str()], read)?)
}

pub(super) fn lapsed(tx: &Transaction<'_>, ended: Timestamp, most: u32) -> rusqlite::Result<Vec<Account>> {
    let sql = "SELECT project, period, value FROM accounts WHERE lapses <= ?1 ORDER BY lapses LIMIT ?2";
    let found = tx.prepare_cached(sql)?.query_map(params![ended.as_second(), most], read).and_then(readable)?;
    // The column has whole seconds.
    let has_lapsed = |account: &Account| holding(account).any(|lease| lease.until < ended);
    Ok(found.into_iter().filter(has_lapsed).collect())
}

pub(super) fn put(tx: &Transaction<'_>, seen: Option<&Account>, account: &Account) -> rusqlite::Result<Written> {
    if find(tx, &account.project, account.period)?.as_ref() != seen {
        return Ok(Written::Lost);
    }
    let lapses = holding(account).map(|lease| lease.until.as_second()).min();
    let sql = "INSERT OR REPLACE INTO accounts (project, period, lapses, value) VALUES (?1, ?2, ?3, ?4)";
    let (project, period) = (account.project.as_str(), account.period.to_string());
    tx.prepare_cached(sql)?.execute(params![project, period, lapses, to_json(account)])?;
    Ok(Written::Done)
}

fn holding(account: &Account) -> impl Iterator<Item = &Lease> {
    account.leases.values().filter(|lease| lease.amount > 0)
}
