//! What was measured, as a table in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Failure;

/// One fault.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) right: Right,
    /// From the fault's end until what runs was as before, for a fault that has an end.
    pub(crate) back: Option<Duration>,
    pub(crate) calls: usize,
    pub(crate) failures: BTreeMap<Failure, usize>,
    /// From the fault until the last call that failed was made.
    pub(crate) last: Option<Duration>,
    pub(crate) slowest: Duration,
}

/// When the configuration that runs was the right one for the fault.
#[derive(Debug)]
pub(crate) enum Right {
    After(Duration),
    /// It was right all the time.
    Unchanged,
    /// The fault comes and goes faster than it is looked for, and either is right.
    Either,
}

const HEAD: &str = "| fault | right after | right again after | failed | of | as | last failed call | slowest |\n\
    |---|---|---|---|---|---|---|---|\n";

/// The table.
pub(crate) fn table(rows: &[Row]) -> String {
    rows.iter().fold(HEAD.to_owned(), |mut text, row| {
        let _ = writeln!(text, "{}", row.text());
        text
    })
}

impl Row {
    /// As a row of the table.
    pub(crate) fn text(&self) -> String {
        let right = match self.right {
            Right::After(time) => seconds(time),
            Right::Unchanged => "unchanged".to_owned(),
            Right::Either => "either".to_owned(),
        };
        let failed: usize = self.failures.values().sum();
        let kinds: Vec<_> = match self.failures.len() {
            1 => self.failures.keys().map(ToString::to_string).collect(),
            _ => self.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect(),
        };
        let or_none = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), seconds);
        let kinds = if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") };
        let (fault, calls, back, last) = (self.fault, self.calls, or_none(self.back), or_none(self.last));
        let slowest = seconds(self.slowest);
        format!("| {fault} | {right} | {back} | {failed} | {calls} | {kinds} | {last} | {slowest} |")
    }
}

/// As exact as it was looked at: conditions are, ten times a second.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.1 { "< 0.1 s".to_owned() } else { format!("{seconds:.1} s") }
}
