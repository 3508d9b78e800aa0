//! What the gate keeps, and under which conditions it may be changed.
//!
//! [`GateStore`] promises what a table of items with conditional writes can promise (DynamoDB): a write says what its
//! writer had seen, several items change together only in small transactions, and lists that are not asked for by their
//! key may lag behind a write for a moment. Pages are the store's own matter.

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::usage::{LogCursor, UsageRow};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};

use crate::{Kept, StoreError, Written};

/// The most rows that one [`GateStore::record_usage`] takes: a transaction of DynamoDB writes 100 items, of which one
/// is the cursor, and each row is two, its minute's and its day's. Who has more cuts where a line of the log ends, and
/// moves the cursor there.
pub const USAGE_ROWS: usize = 49;

/// How much later than its end a lease is found by [`GateStore::lapsed_accounts`], at most. Nobody waits for that: whoever
/// asks for the account's credits writes off what is lost of them first.
pub const LAPSE_LAG: Duration = Duration::from_secs(600);

impl Kept {
    /// Usage by the minute: long enough to look into yesterday's incident from every time zone.
    pub const USAGE_MINUTES: Duration = Duration::from_secs(48 * 3600);
    /// Usage by the day: each month can be compared with the same one a year before, to its end.
    pub const USAGE_DAYS: Duration = Duration::from_secs(400 * 24 * 3600);
    /// Beats of sidecars that died: far longer than anybody takes them for alive.
    pub const BEATS: Duration = Duration::from_secs(3600);
}

/// What became of each of several, in the order in which they were asked for. What is wrong with one is no matter of the
/// others.
pub type Each<T> = Vec<Result<T, StoreError>>;

/// The gate's state: projects, keys, accounts, usage, and which sidecars work on it.
///
/// Every method may fail with [`StoreError`]; after a failure of a write it is unknown whether it took effect, and
/// doing it again is safe: it is done then, or the answer is [`Written::Lost`]. What stands there and cannot be read is
/// never taken for nothing, because that would grant credits anew or let a revoked key's name go: whoever asks for it,
/// or would write over it, gets [`StoreError::Unreadable`]. Lists leave it out.
pub trait GateStore: Send + Sync {
    /// A project.
    fn project(&self, id: &ProjectId) -> impl Future<Output = Result<Option<Project>, StoreError>> + Send;

    /// Several projects, in few calls.
    fn find_projects(&self, ids: &[ProjectId]) -> impl Future<Output = Each<Option<Project>>> + Send;

    /// All projects, by name.
    fn projects(&self) -> impl Future<Output = Result<Vec<Project>, StoreError>> + Send;

    /// Writes a project if what is there now equals `seen` (`None`: nothing is there).
    fn put_project(
        &self,
        seen: Option<&Project>,
        project: &Project,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// The key with this digest: the gate's look-up, one read by primary key.
    fn key(&self, digest: &KeyDigest) -> impl Future<Output = Result<Option<Key>, StoreError>> + Send;

    /// Several keys, in few calls.
    fn find_keys(&self, digests: &[KeyDigest]) -> impl Future<Output = Each<Option<Key>>> + Send;

    /// A project's keys, revoked ones too, by name; those of one name in the order in which they were made.
    fn keys(&self, project: &ProjectId) -> impl Future<Output = Result<Vec<Key>, StoreError>> + Send;

    /// Writes a key if what is there now equals `seen` (`None`: nothing is there), and if no other key of its project
    /// that is not revoked has its name. A key stays with its project.
    fn put_key(&self, seen: Option<&Key>, key: &Key) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Writes `old` over `seen` and adds `new`, both or neither, under the conditions of [`Self::put_key`]. `new` may
    /// have the name that `seen` had.
    fn replace_key(&self, seen: &Key, old: &Key, new: &Key)
    -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// A project's account of one month.
    fn account(
        &self,
        project: &ProjectId,
        period: Period,
    ) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;

    /// Several accounts, in few calls.
    fn find_accounts(&self, of: &[(ProjectId, Period)]) -> impl Future<Output = Each<Option<Account>>> + Send;

    /// Writes an account if what is there now equals `seen` (`None`: nothing is there), leases and all.
    fn put_account(
        &self,
        seen: Option<&Account>,
        account: &Account,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// The same with several pairs of what was seen and what is to be there, in few calls. Each account stands there
    /// once, and is written or not, whatever becomes of the others.
    fn put_accounts(&self, changes: &[(Option<Account>, Account)]) -> impl Future<Output = Each<Written>> + Send;

    /// A project's accounts, the newest month first.
    fn accounts(&self, project: &ProjectId) -> impl Future<Output = Result<Vec<Account>, StoreError>> + Send;

    /// At most `most` accounts with a lease that holds credits and ended before `ended`, of whichever month: their
    /// holders may be dead. It may lag behind by [`LAPSE_LAG`]; [`Account::write_off`] decides, and [`Self::put_account`] sees to it that
    /// it decides about what is there.
    fn lapsed_accounts(
        &self,
        ended: Timestamp,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Account>, StoreError>> + Send;

    /// How far a log was counted. Forgotten, at the earliest, when nothing was counted in it for
    /// [`Kept::USAGE_MINUTES`].
    fn log_cursor(&self, log: &LogName) -> impl Future<Output = Result<Option<LogCursor>, StoreError>> + Send;

    /// Adds `rows` to what was counted in their minutes and moves the log's cursor to `now`, all or nothing, and only if
    /// the cursor is still `seen`: so no line counts twice, whatever crashes. Rows of the same minute and kind add up.
    /// More than [`USAGE_ROWS`] are refused with [`StoreError::TooMany`].
    fn record_usage(
        &self,
        log: &LogName,
        seen: Option<LogCursor>,
        now: LogCursor,
        rows: &[UsageRow],
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// What a project used in `from..to`, by start: minutes, and days as far back as minutes are folded. A minute counts
    /// if it starts in the range, or holds its beginning; and so does a day, of which only the whole is known. No request
    /// stands in two rows.
    fn usage(
        &self,
        project: &ProjectId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<UsageRow>, StoreError>> + Send;

    /// Folds the minutes of days that have ended by `before` into one row a day, and says how many rows of minutes it
    /// folded. It takes whole days, so that none is known in part by the minute; minutes are so kept for up to a day
    /// longer than asked. Whatever crashes, and whoever reads meanwhile, each request stands in one row.
    fn fold_usage(&self, before: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Forgets days that have ended by `before`.
    fn forget_usage(&self, before: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Says that a sidecar is there. Forgotten, at the earliest, after [`Kept::BEATS`].
    fn beat(&self, beat: &Beat) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The last beat of each sidecar.
    fn beats(&self) -> impl Future<Output = Result<Vec<Beat>, StoreError>> + Send;

    /// Forgets a sidecar's beat: it is no longer there.
    fn leave(&self, sidecar: &SidecarId) -> impl Future<Output = Result<(), StoreError>> + Send;
}
