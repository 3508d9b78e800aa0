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
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::gate::usage::{Ahead, LogCursor, UsageCounts, UsageKey, UsageRow, minute};
use nodeweir_domain::name::{LogName, ProjectId};
use nodeweir_store::{GateStore, Kept, StoreError, USAGE_ROWS, Written};
use tracing::{error, warn};

use crate::metrics::{CallOutcome, Metrics};
use files::Piece;
use line::Line;
use reader::{Reader, Wanted};

/// How often the log is looked at. nginx holds lines back for up to a second.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// After so many lines, tens of microseconds, whoever else wants the core gets it: left alone, the system would first
/// let a turn of milliseconds end, for which requests would wait.
const TURN: usize = 32;

/// Rows that are written together, in several steps: with few, lines of many projects would be a write each; with many, a
/// crash in between means much to read again.
const ROWS: usize = 20 * USAGE_ROWS;

/// How often usage is written at least while there is some.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// What was used.
    rows: Duration,
    /// What was used, when something of it is to be given back, which clients wait for.
    refunds: Duration,
}

impl Pace {
    /// Where writes cost nothing.
    const AT_ONCE: Self = Self { rows: Duration::ZERO, refunds: Duration::ZERO };
    /// Where each is paid for. A row is written once a minute then, because it is about a minute.
    const SPARING: Self = Self { rows: Duration::from_secs(60), refunds: Duration::from_secs(5) };
}

/// Reads the log.
pub(crate) struct Usage {
    reader: Reader,
    log: LogName,
    pace: Pace,
    /// Up to where the store has counted.
    cursor: Cursor,
    /// Lines behind the cursor that are not written yet.
    batch: Option<Batch>,
    /// What was read behind those.
    rest: Option<Piece>,
    /// When something was written last.
    written: Instant,
}

/// Where the store has the reading.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// To be asked for, at first and when it is unknown whether a write took effect.
    Unread,
    /// There; `None` is before everything.
    Read(Option<LogCursor>),
}

/// Lines that were read, folded.
#[derive(Debug, Default)]
struct Batch {
    folded: Folded,
    /// Where they begin.
    from: LogCursor,
    /// Where they end.
    upto: LogCursor,
}

/// What nodes failed and clients shall not pay: credits by project and period.
pub(crate) type Refunds = BTreeMap<(ProjectId, Period), u64>;

impl Usage {
    /// Follows the log in `folder`, whose name must be the same after a restart. `is_paid` says that the store takes money
    /// for each write. Errs if the system gives no thread.
    pub(crate) fn new(folder: PathBuf, log: LogName, is_paid: bool) -> io::Result<Self> {
        let pace = if is_paid { Pace::SPARING } else { Pace::AT_ONCE };
        let (reader, cursor, written) = (Reader::start(folder)?, Cursor::Unread, Instant::now());
        Ok(Self { reader, log, pace, cursor, batch: None, rest: None, written })
    }

    /// Counts what was written since the last time, at most a few MiB of it, and writes it down if it is time to, or
    /// `at_once`. Says what is to be given back, and whether there is more.
    ///
    /// After any failure it is read again from where the store has it. That is also what a successor does after a crash.
    pub(crate) async fn count<S: GateStore>(
        &mut self,
        store: &S,
        metrics: &Metrics,
        at_once: bool,
    ) -> Result<(Refunds, bool), StoreError> {
        let nothing = || Ok((Refunds::new(), false));
        let seen = match self.cursor {
            Cursor::Read(seen) => seen,
            Cursor::Unread => {
                (self.batch, self.rest) = (None, None);
                store.log_cursor(&self.log).await?
            }
        };
        let goal = seen.and_then(|seen| seen.ahead).map(|ahead| LogCursor::at(ahead.file, ahead.offset));
        let before = self.batch.take();
        let after = before.as_ref().map(|batch| batch.upto).or(seen);
        let (folded, from) = before.map_or((Folded::default(), None), |batch| (batch.folded, Some(batch.from)));
        // Until all is well, the next one begins anew.
        self.cursor = Cursor::Unread;
        let taken = self.reader.take(Wanted { after, goal, counted: seen, rest: self.rest.take(), folded }).await;
        let Taken { folded, first, upto, rest, behind, is_whole } = match taken {
            Ok(taken) => taken,
            Err(error) => {
                warn!(%error, "the access log cannot be read; usage is counted later");
                return nothing();
            }
        };
        metrics.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.rest = rest;
        let (Some(from), Some(upto)) = (from.or(seen).or(first), upto) else {
            self.cursor = Cursor::Read(seen);
            return nothing();
        };
        let batch = Batch { folded, from: LogCursor::at(from.file, from.offset), upto };
        if goal.is_some() && !is_whole {
            // Somebody has deleted lines that are being written; what is there of them is all that can be.
            error!(log = %self.log, "lines of the access log are gone before they were counted");
        } else if batch.folded.is_empty() {
            self.cursor = Cursor::Read(seen);
            return nothing();
        }
        let age = self.written.elapsed();
        let is_time = age >= self.pace.rows || (!batch.folded.refunds.is_empty() && age >= self.pace.refunds);
        if !(at_once || is_time || is_whole) {
            self.cursor = Cursor::Read(seen);
            self.batch = Some(batch);
            return nothing();
        }
        let Some(refunds) = self.write(store, metrics, seen, batch).await? else { return nothing() };
        Ok((refunds, behind > 0))
    }

    /// Writes a batch, or what is left of it. Nothing if somebody else counts.
    async fn write<S: GateStore>(
        &mut self,
        store: &S,
        metrics: &Metrics,
        mut seen: Option<LogCursor>,
        batch: Batch,
    ) -> Result<Option<Refunds>, StoreError> {
        let Batch { folded, from, upto } = batch;
        let rows: Vec<UsageRow> = folded.rows.into_iter().map(|(of, counts)| UsageRow { of, counts }).collect();
        let written = seen.and_then(|seen| seen.ahead).map_or(0, |ahead| ahead.rows);
        let mut written = usize::try_from(written).unwrap_or(usize::MAX).min(rows.len());
        loop {
            let end = rows.len().min(written + USAGE_ROWS);
            let ahead = Ahead { file: upto.file, offset: upto.offset, rows: end as u64 };
            let now = if end == rows.len() { upto } else { LogCursor { ahead: Some(ahead), ..from } };
            match store.record_usage(&self.log, seen, now, &rows[written..end]).await {
                Ok(Written::Done) => metrics.note_store("record_usage", CallOutcome::ok),
                Ok(Written::Lost) => {
                    // Another process counts under this name.
                    metrics.note_store("record_usage", CallOutcome::lost);
                    error!(log = %self.log, "somebody else counts the same access log");
                    return Ok(None);
                }
                Err(error) => {
                    // It may have been written all the same.
                    metrics.note_store("record_usage", CallOutcome::failed);
                    return Err(error);
                }
            }
            (seen, written) = (Some(now), end);
            if end == rows.len() {
                break;
            }
        }
        (self.cursor, self.written) = (Cursor::Read(seen), Instant::now());
        metrics.lines.inc_by(folded.lines);
        metrics.bad_lines.inc_by(folded.bad);
        if folded.bad > 0 {
            warn!(lines = folded.bad, "lines of the access log could not be read and are not counted");
        }
        Ok(Some(folded.refunds))
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

/// What was read and folded.
#[derive(Debug)]
struct Taken {
    folded: Folded,
    /// Where the first line that was read for it stands.
    first: Option<LogCursor>,
    /// Behind the last one; `None` if nothing was ever read.
    upto: Option<LogCursor>,
    /// What was read beyond it.
    rest: Option<Piece>,
    /// Bytes that are still to be counted.
    behind: u64,
    /// Whether no line may be added to it any more.
    is_whole: bool,
}

/// Adds a piece's lines, but no more than go together, and none behind `goal`.
fn take(mut piece: Piece, before: Taken, goal: Option<LogCursor>) -> Taken {
    let Taken { mut folded, first, .. } = before;
    let file = piece.cursor.file;
    let start = piece.cursor.offset.saturating_sub(piece.text.len() as u64);
    let goal = goal.filter(|goal| goal.file == file);
    let first = first.or(Some(LogCursor::at(file, start + piece.counted as u64)));
    let mut counted = piece.counted;
    for (index, text) in piece.text[counted..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index % TURN == TURN - 1 {
            thread::yield_now();
        }
        if goal.is_some_and(|goal| start + counted as u64 >= goal.offset) {
            break;
        }
        match Line::read(text.trim_ascii_end()) {
            // What a minute used is written together: half of one and half of the next would be twice as many rows.
            Ok(line)
                if goal.is_none() && (folded.rows.len() + line.methods.len() > ROWS || folded.is_before(&line)) =>
            {
                break;
            }
            Ok(line) => folded.add(&line),
            Err(_) => folded.bad += 1,
        }
        counted += text.len();
    }
    piece.counted = counted;
    let left = (piece.text.len() - counted) as u64;
    let upto = Some(LogCursor::at(file, start + counted as u64));
    let behind = piece.behind + left;
    let is_whole = left > 0 || goal.is_some_and(|goal| start + counted as u64 >= goal.offset);
    Taken { folded, first, upto, rest: (left > 0).then_some(piece), behind, is_whole }
}

#[derive(Debug, Default)]
struct Folded {
    rows: BTreeMap<UsageKey, UsageCounts>,
    refunds: Refunds,
    lines: u64,
    bad: u64,
    /// In which the first of the requests ended.
    minute: Option<Timestamp>,
}

impl Folded {
    /// Whether a request ended in a later minute. One of an earlier minute may come late, because workers of nginx write in
    /// turns.
    fn is_before(&self, line: &Line) -> bool {
        self.minute.is_some_and(|first| minute(line.ended()) > first)
    }

    fn is_empty(&self) -> bool {
        self.lines == 0 && self.bad == 0
    }

    fn add(&mut self, line: &Line) {
        self.lines += 1;
        self.minute.get_or_insert_with(|| minute(line.ended()));
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
