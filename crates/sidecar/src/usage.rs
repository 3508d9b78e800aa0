//! Usage, read from nginx's access log.
//!
//! nginx writes one line for each request of a known key, passed or refused, buffered, into `usage/requests.log` in its
//! folder; its supervisor renames a full file to `requests.log.NUMBER` and has nginx open a new one. This reader follows
//! by offset, folds lines into minute rows, writes them together with the offset, and deletes a renamed file when it has
//! been counted. Nothing in the way of a request waits for it.

mod files;
mod line;
mod reader;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow};
use nodeweir_domain::name::{LogName, ProjectId};
use nodeweir_store::{GateStore, Kept, StoreError, USAGE_ROWS, Written};
use tracing::{error, warn};

use crate::metrics::{CallOutcome, Metrics};
use files::Piece;
use line::Line;
use reader::Reader;

/// How often the log is looked at. nginx holds lines back for up to a second.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// After so many lines, tens of microseconds, whoever else wants the core gets it: left alone, the system would first
/// let a turn of milliseconds end, for which requests would wait.
const TURN: usize = 32;

/// Reads the log.
pub(crate) struct Usage {
    reader: Reader,
    log: LogName,
    /// Up to where the store has counted.
    cursor: Cursor,
    /// What was read behind the cursor and is still to be counted.
    rest: Option<Piece>,
}

/// Where the store has the reading.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// To be asked for, at first and when it is unknown whether a write took effect.
    Unread,
    /// There; `None` is before everything.
    Read(Option<LogCursor>),
}

/// What nodes failed and clients shall not pay: credits by project and period.
pub(crate) type Refunds = BTreeMap<(ProjectId, Period), u64>;

impl Usage {
    /// Follows the log in `folder`, whose name must be the same after a restart. Errs if the system gives no thread.
    pub(crate) fn new(folder: PathBuf, log: LogName) -> io::Result<Self> {
        Ok(Self { reader: Reader::start(folder)?, log, cursor: Cursor::Unread, rest: None })
    }

    /// Counts what was written since the last time, at most a few MiB of it. Says what is to be given back, and whether
    /// there is more.
    pub(crate) async fn count<S: GateStore>(
        &mut self,
        store: &S,
        metrics: &Metrics,
    ) -> Result<(Refunds, bool), StoreError> {
        let seen = match self.cursor {
            Cursor::Read(seen) => seen,
            Cursor::Unread => store.log_cursor(&self.log).await?,
        };
        self.cursor = Cursor::Read(seen);
        let Taken { folded, cursor, rest, behind } = match self.reader.take(seen, self.rest.take()).await {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok((Refunds::new(), false)),
            Err(error) => {
                warn!(%error, "the access log cannot be read; usage is counted later");
                return Ok((Refunds::new(), false));
            }
        };
        let rows: Vec<UsageRow> = folded.rows.into_iter().map(|(of, counts)| UsageRow { of, counts }).collect();
        match store.record_usage(&self.log, seen, cursor, &rows).await {
            Ok(Written::Done) => metrics.note_store("record_usage", CallOutcome::ok),
            Ok(Written::Lost) => {
                // Another process counts under this name; where it stands is read anew.
                metrics.note_store("record_usage", CallOutcome::lost);
                error!(log = %self.log, "somebody else counts the same access log");
                self.cursor = Cursor::Unread;
                return Ok((Refunds::new(), false));
            }
            Err(error) => {
                // It may have been written all the same.
                metrics.note_store("record_usage", CallOutcome::failed);
                self.cursor = Cursor::Unread;
                return Err(error);
            }
        }
        self.cursor = Cursor::Read(Some(cursor));
        metrics.lines.inc_by(folded.lines);
        metrics.bad_lines.inc_by(folded.bad);
        metrics.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.rest = rest;
        if folded.bad > 0 {
            warn!(lines = folded.bad, "lines of the access log could not be read and are not counted");
        }
        Ok((folded.refunds, behind > 0))
    }
}

/// Folds minutes that are old into days, and forgets days that are.
pub(crate) async fn fold<S: GateStore>(store: &S, now: Timestamp) {
    let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
    if let Err(error) = store.fold_usage(before(Kept::USAGE_MINUTES)).await {
        warn!(%error, "old usage cannot be folded into days; it is tried again");
    }
    if let Err(error) = store.forget_usage(before(Kept::USAGE_DAYS)).await {
        warn!(%error, "usage of long ago cannot be forgotten; it is tried again");
    }
}

/// As many lines as one write takes.
struct Taken {
    folded: Folded,
    /// Behind them.
    cursor: LogCursor,
    /// What was read beyond them.
    rest: Option<Piece>,
    /// Bytes that are still to be counted.
    behind: u64,
}

fn take(mut piece: Piece) -> Taken {
    let mut folded = Folded::default();
    let mut counted = piece.counted;
    for (index, text) in piece.text[counted..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index % TURN == TURN - 1 {
            thread::yield_now();
        }
        match Line::read(text.trim_ascii_end()) {
            Ok(line) if folded.rows.len() + line.methods.len() > USAGE_ROWS => break,
            Ok(line) => folded.add(&line),
            Err(_) => folded.bad += 1,
        }
        counted += text.len();
    }
    piece.counted = counted;
    let left = (piece.text.len() - counted) as u64;
    let cursor = LogCursor { offset: piece.cursor.offset.saturating_sub(left), ..piece.cursor };
    let behind = piece.behind + left;
    Taken { folded, cursor, rest: (left > 0).then_some(piece), behind }
}

#[derive(Default)]
struct Folded {
    rows: BTreeMap<UsageKey, UsageCounts>,
    refunds: Refunds,
    lines: u64,
    bad: u64,
}

impl Folded {
    fn add(&mut self, line: &Line) {
        self.lines += 1;
        let failed = line.is_upstreams_fault();
        // The method that the batch has most of stands for the request.
        let main = line.methods.iter().enumerate().max_by_key(|(index, method)| (method.calls, usize::MAX - index));
        let main = main.map_or(0, |(index, _)| index);
        for (index, method) in line.methods.iter().enumerate() {
            let mut counts = UsageCounts { calls: method.calls, ..UsageCounts::default() };
            counts.credits = if failed { 0 } else { method.credits };
            if index == main {
                counts.requests = 1;
                counts.milliseconds = line.milliseconds;
                counts.bytes_in = line.bytes_in;
                counts.bytes_out = line.bytes_out;
            }
            *self.rows.entry(line.row(&method.name)).or_default() += counts;
        }
        if failed && line.cost > 0 {
            *self.refunds.entry((line.project.clone(), Period::of(line.started))).or_default() += line.cost;
        }
    }
}

#[cfg(test)]
mod tests;
