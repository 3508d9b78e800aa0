//! What was used: requests folded into rows by minute and by day.

use std::ops::AddAssign;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::key::KeyId;
use crate::name::{NetworkId, ProjectId};

/// What a row counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsageKey {
    /// The start of its minute, or of its day, in UTC.
    pub start: Timestamp,
    /// Who pays.
    pub project: ProjectId,
    /// With which key.
    pub key: KeyId,
    /// On which network.
    pub network: NetworkId,
    /// Which method; `other` stands for those without a common name.
    pub method: String,
    /// The HTTP status that the client got.
    pub status: u16,
}

/// What was counted. Of a batch, each method's row has its own members; its time, bytes and the request itself stand in
/// the row of the method that the batch has most of, so that sums over rows are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageCounts {
    /// HTTP requests.
    pub requests: u64,
    /// JSON-RPC calls: one of a single request, one for each member of a batch.
    pub calls: u64,
    /// Credits charged and not given back.
    pub credits: u64,
    /// Milliseconds from the first byte of requests to the last of answers, summed.
    pub milliseconds: u64,
    /// Bytes of requests, headers included.
    pub bytes_in: u64,
    /// Bytes of answers, headers included.
    pub bytes_out: u64,
}

impl AddAssign for UsageCounts {
    fn add_assign(&mut self, other: Self) {
        let Self { requests, calls, credits, milliseconds, bytes_in, bytes_out } = self;
        for (sum, more) in [
            (requests, other.requests),
            (calls, other.calls),
            (credits, other.credits),
            (milliseconds, other.milliseconds),
            (bytes_in, other.bytes_in),
            (bytes_out, other.bytes_out),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// What it counts.
    #[serde(flatten)]
    pub of: UsageKey,
    /// What was counted.
    #[serde(flatten)]
    pub counts: UsageCounts,
}

/// The start of the minute that `at` is in.
pub fn minute(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(at)
}

/// The start of the day in UTC that `at` is in.
pub fn day(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(86_400)).unwrap_or(at)
}

/// The start of the month in UTC that `at` is in.
pub fn month(at: Timestamp) -> Timestamp {
    let zoned = at.to_zoned(TimeZone::UTC);
    let back = i64::from(zoned.day()) - 1;
    day(zoned.checked_sub(back.days()).map_or(at, |first| first.timestamp()))
}

/// Where the reading of the access log stands: the file, by what the file system knows it by, and the byte after the last
/// line that was counted. It is written together with what was counted, so that no line counts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogCursor {
    /// The file's number (inode).
    pub file: u64,
    /// Bytes of it that were counted.
    pub offset: u64,
    /// What is being written of the lines after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
}

/// Lines whose rows are more than one write takes. They are written in several steps, in the order of their [`UsageKey`]s;
/// whoever goes on after a crash reads the same lines, which give the same rows, and leaves out those that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Where these lines end: the file.
    pub file: u64,
    /// And the byte in it.
    pub offset: u64,
    /// How many of their rows were written.
    pub rows: u64,
}

impl LogCursor {
    /// All before this byte was counted, and nothing behind it.
    pub fn at(file: u64, offset: u64) -> Self {
        Self { file, offset, ahead: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_in_utc() {
        let at: Timestamp = "2026-11-21T05:06:07.5Z".parse().unwrap();
        assert_eq!(minute(at).to_string(), "2026-11-21T05:06:00Z");
        assert_eq!(day(at).to_string(), "2026-11-21T00:00:00Z");
        assert_eq!(month(at).to_string(), "2026-11-01T00:00:00Z");
    }
}
