//! [`GateStore`] over DynamoDB: the tables `gate` and `usage`.
//!
//! Table `gate`, partition key `kind`, sort key `id`. What a row means is JSON in `value`, unless stated otherwise.
//!
//! | `kind` | `id` | what | other attributes |
//! |---|---|---|---|
//! | `project` | project | a project | |
//! | `key#DIGEST` | `key` | a key | |
//! | `keys#PROJECT` | `key#DIGEST` | that the key is this project's; never changes | no `value` |
//! | `keys#PROJECT` | `name#NAME` | which key that is not revoked has the name | `digest`, no `value` |
//! | `accounts#PROJECT` | month, `2026-11` | an account with its leases | `lapsing`, `lapses` |
//! | `log#LOG` | `cursor` | how far a log was counted | `expires` |
//! | `sidecar` | sidecar | that a gate is there | `expires` |
//! | `usage` | `folded` | the time before which usage is known by the day only; a time, not JSON | |
//!
//! Its index `lapsing` (partition key `lapsing`, sort key `lapses`, keys only) has the accounts, by a moment at which all
//! their leases that hold credits will have ended; `never` if none does. `lapsing` is one of eight shards, by project.
//!
//! Table `usage`, partition key `project`, sort key `row`. What a row is about stands in its key; `requests`, `calls`,
//! `credits`, `milliseconds`, `bytes_in` and `bytes_out` are numbers that writers add to.
//!
//! | `row` | what | other attributes |
//! |---|---|---|
//! | `minute#START#KEY#NETWORK#STATUS#METHOD` | what was counted in that minute | |
//! | `day#START#KEY#NETWORK#STATUS#METHOD` | what was counted in that day | `minutes`, `expires` |
//!
//! Its index `minutes` (partition key `minutes`, sort key `row`, keys only) has the rows of days: `kept-SHARD` while there
//! may be minutes beside them, and `gone-SHARD` afterwards.
//!
//! All reads are consistent but those of an index, whose rows are then read or written by their own keys.

mod accounts;
mod beats;
mod fold;
mod keys;
mod projects;
mod usage;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow, day};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};
use nodeweir_store::{Each, GateStore, StoreError, USAGE_ROWS, Written};
use serde::Serialize;

use super::{DynamoStore, Place, Row, to_text};
use crate::packed::pack;

/// Partitions of each index: one takes a thousand writes a second.
const SHARDS: u32 = 8;

impl GateStore for DynamoStore {
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        projects::find(self, id).await
    }

    async fn find_projects(&self, ids: &[ProjectId]) -> Each<Option<Project>> {
        projects::find_each(self, ids).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        projects::all(self).await
    }

    async fn put_project(&self, seen: Option<&Project>, project: &Project) -> Result<Written, StoreError> {
        projects::put(self, seen, project).await
    }

    async fn key(&self, digest: &KeyDigest) -> Result<Option<Key>, StoreError> {
        keys::find(self, digest).await
    }

    async fn find_keys(&self, digests: &[KeyDigest]) -> Each<Option<Key>> {
        keys::find_each(self, digests).await
    }

    async fn keys(&self, project: &ProjectId) -> Result<Vec<Key>, StoreError> {
        keys::of(self, project).await
    }

    async fn put_key(&self, seen: Option<&Key>, key: &Key) -> Result<Written, StoreError> {
        keys::put(self, seen, key).await
    }

    async fn replace_key(&self, seen: &Key, old: &Key, new: &Key) -> Result<Written, StoreError> {
        keys::replace(self, seen, old, new).await
    }

    async fn account(&self, project: &ProjectId, period: Period) -> Result<Option<Account>, StoreError> {
        accounts::find(self, project, period).await
    }

    async fn find_accounts(&self, of: &[(ProjectId, Period)]) -> Each<Option<Account>> {
        accounts::find_each(self, of).await
    }

    async fn put_account(&self, seen: Option<&Account>, account: &Account) -> Result<Written, StoreError> {
        accounts::put(self, seen, account).await
    }

    async fn put_accounts(&self, changes: &[(Option<Account>, Account)]) -> Each<Written> {
        accounts::put_each(self, changes).await
    }

    async fn accounts(&self, project: &ProjectId) -> Result<Vec<Account>, StoreError> {
        accounts::of(self, project).await
    }

    async fn lapsed_accounts(&self, ended: Timestamp, most: u32) -> Result<Vec<Account>, StoreError> {
        accounts::lapsed(self, ended, most).await
    }

    async fn log_cursor(&self, log: &LogName) -> Result<Option<LogCursor>, StoreError> {
        usage::cursor(self, log).await
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
        usage::record(self, log, seen, now, rows).await
    }

    async fn usage(&self, project: &ProjectId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        usage::between(self, project, from, to).await
    }

    async fn fold_usage(&self, before: Timestamp) -> Result<u64, StoreError> {
        fold::fold(self, day(before)).await
    }

    async fn forget_usage(&self, before: Timestamp) -> Result<(), StoreError> {
        fold::forget(self, day(before)).await
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        beats::put(self, beat).await
    }

    async fn beats(&self) -> Result<Vec<Beat>, StoreError> {
        beats::all(self).await
    }

    async fn leave(&self, sidecar: &SidecarId) -> Result<(), StoreError> {
        beats::remove(self, sidecar).await
    }
}

impl DynamoStore {
    /// Replaces what a row means if what is there means `seen`. One write in the usual case, in which this version of the
    /// program wrote what is there; what another version wrote is read first.
    async fn exchange<T: PartialEq + Serialize>(
        &self,
        place: Place<'_>,
        seen: Option<&T>,
        row: Row,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Written, StoreError> {
        let spelled = seen.map(|seen| place.row(pack(&to_text(seen))));
        if self.swap(place, spelled.as_ref(), Some(row.clone())).await? == Written::Done {
            return Ok(Written::Done);
        }
        let before = self.get(place).await?;
        if before.as_ref().map(read).transpose()?.as_ref() != seen {
            return Ok(Written::Lost);
        }
        self.swap(place, before.as_ref(), Some(row)).await
    }

    /// What each of these rows means.
    async fn find_each<T>(
        &self,
        places: &[Place<'_>],
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Each<Option<T>> {
        match self.get_each(places).await {
            Ok(rows) => rows.into_iter().map(|row| row.as_ref().map(&read).transpose()).collect(),
            Err(error) => places.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn unreadable(table: &str, what: &'static str, why: String) -> StoreError {
        StoreError::Unreadable { place: format!("DynamoDB table {table}"), what, why }
    }
}

/// In which shard of an index what belongs to a project is.
fn shard(project: &str) -> u32 {
    // FNV-1a: it must be the same in every version of the program.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    project.bytes().fold(2_166_136_261, mix) % SHARDS
}
