//! [`GateStore`] over SQLite. Each condition is checked inside the writing transaction. What is asked for at once is looked
//! up one after the other: on one machine that takes microseconds each.

mod accounts;
mod beats;
mod keys;
mod projects;
mod usage;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow, day};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};

use super::SqliteStore;
use crate::{Each, GateStore, StoreError, USAGE_ROWS, Written};

impl GateStore for SqliteStore {
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        let id = id.clone();
        self.call(move |tx| projects::find(tx, &id)).await
    }

    async fn find_projects(&self, ids: &[ProjectId]) -> Each<Option<Project>> {
        stream::iter(ids).then(|id| self.project(id)).collect().await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.call(projects::all).await
    }

    async fn put_project(&self, seen: Option<&Project>, project: &Project) -> Result<Written, StoreError> {
        let (seen, project) = (seen.cloned(), project.clone());
        self.write_for_good(move |tx| projects::put(tx, seen.as_ref(), &project)).await
    }

    async fn key(&self, digest: &KeyDigest) -> Result<Option<Key>, StoreError> {
        let digest = *digest;
        self.call(move |tx| keys::find(tx, &digest)).await
    }

    async fn find_keys(&self, digests: &[KeyDigest]) -> Each<Option<Key>> {
        stream::iter(digests).then(|digest| self.key(digest)).collect().await
    }

    async fn keys(&self, project: &ProjectId) -> Result<Vec<Key>, StoreError> {
        let project = project.clone();
        self.call(move |tx| keys::of(tx, &project)).await
    }

    async fn put_key(&self, seen: Option<&Key>, key: &Key) -> Result<Written, StoreError> {
        let (seen, key) = (seen.cloned(), key.clone());
        self.write_for_good(move |tx| keys::put(tx, seen.as_ref(), &key)).await
    }

    async fn replace_key(&self, seen: &Key, old: &Key, new: &Key) -> Result<Written, StoreError> {
        let (seen, old, new) = (seen.clone(), old.clone(), new.clone());
        self.write_for_good(move |tx| keys::replace(tx, &seen, &old, &new)).await
    }

    async fn account(&self, project: &ProjectId, period: Period) -> Result<Option<Account>, StoreError> {
        let project = project.clone();
        self.call(move |tx| accounts::find(tx, &project, period)).await
    }

    async fn find_accounts(&self, of: &[(ProjectId, Period)]) -> Each<Option<Account>> {
        stream::iter(of).then(|(project, period)| self.account(project, *period)).collect().await
    }

    async fn put_account(&self, seen: Option<&Account>, account: &Account) -> Result<Written, StoreError> {
        let (seen, account) = (seen.cloned(), account.clone());
        // What people were promised outlives the machine's power; what sidecars hold ends with it.
        let is_granting = seen.as_ref().is_none_or(|seen| seen.granted != account.granted);
        let put = move |tx: &rusqlite::Transaction<'_>| accounts::put(tx, seen.as_ref(), &account);
        if is_granting { self.write_for_good(put).await } else { self.write(put).await }
    }

    async fn put_accounts(&self, changes: &[(Option<Account>, Account)]) -> Each<Written> {
        stream::iter(changes).then(|(seen, account)| self.put_account(seen.as_ref(), account)).collect().await
    }

    async fn accounts(&self, project: &ProjectId) -> Result<Vec<Account>, StoreError> {
        let project = project.clone();
        self.call(move |tx| accounts::of(tx, &project)).await
    }

    async fn lapsed_accounts(&self, ended: Timestamp, most: u32) -> Result<Vec<Account>, StoreError> {
        self.call(move |tx| accounts::lapsed(tx, ended, most)).await
    }

    async fn log_cursor(&self, log: &LogName) -> Result<Option<LogCursor>, StoreError> {
        let log = log.clone();
        self.call(move |tx| usage::cursor(tx, &log)).await
    }

    async fn record_usage(
        &self,
        log: &LogName,
        seen: Option<LogCursor>,
        now: LogCursor,
        rows: &[UsageRow],
    ) -> Result<Written, StoreError> {
        if rows.len() > USAGE_ROWS {
            return Err(StoreError::TooMany { given: rows.len(), most: USAGE_ROWS });
        }
        let (log, rows) = (log.clone(), rows.to_vec());
        self.write(move |tx| usage::record(tx, &log, seen, now, &rows)).await
    }

    async fn usage(&self, project: &ProjectId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        let project = project.clone();
        self.call(move |tx| usage::between(tx, &project, from, to)).await
    }

    async fn fold_usage(&self, before: Timestamp) -> Result<u64, StoreError> {
        let before = day(before);
        let mut folded = 0;
        for project in self.call(usage::projects).await? {
            loop {
                let project = project.clone();
                let rows = self.write(move |tx| usage::fold(tx, &project, before)).await?;
                folded += rows;
                if rows == 0 {
                    break;
                }
            }
        }
        Ok(folded)
    }

    async fn forget_usage(&self, before: Timestamp) -> Result<(), StoreError> {
        let before = day(before);
        for project in self.call(usage::projects).await? {
            self.write(move |tx| usage::forget(tx, &project, before)).await?;
        }
        Ok(())
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let beat = beat.clone();
        self.write(move |tx| beats::put(tx, &beat)).await
    }

    async fn beats(&self) -> Result<Vec<Beat>, StoreError> {
        self.call(beats::all).await
    }

    async fn leave(&self, sidecar: &SidecarId) -> Result<(), StoreError> {
        let sidecar = sidecar.clone();
        self.write(move |tx| beats::remove(tx, &sidecar)).await
    }
}
