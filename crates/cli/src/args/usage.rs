//! The command line of usage.

use clap::{Args as ClapArgs, ValueEnum};
use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::name::ProjectId;

use super::gate::{Moment, moment};

/// What is asked about usage.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Used {
    /// The project
    #[arg(required_unless_present = "all_projects")]
    pub(crate) project: Option<ProjectId>,
    /// All projects; for --export
    #[arg(long, conflicts_with = "project", requires = "export")]
    pub(crate) all_projects: bool,
    /// What to add up by
    #[arg(long, value_enum, default_value_t = UsageBy::Method)]
    pub(crate) by: UsageBy,
    #[command(flatten)]
    pub(crate) span: Span,
    /// Print rows for a bill instead: one for each day, key, network, method and status
    #[arg(long, value_enum, conflicts_with = "by", value_name = "FORMAT")]
    pub(crate) export: Option<Export>,
}

/// Used when.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Span {
    /// From when on: how long ago, or a moment. Beyond two days whole days are known
    #[arg(long, value_parser = moment, default_value = "24h", value_name = "TIME")]
    pub(crate) since: Moment,
    /// Before when: how long ago, or a moment [default: now]
    #[arg(long, value_parser = moment, requires = "since", value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// In this month, in UTC, such as 2026-11
    #[arg(long, conflicts_with_all = ["since", "until"], value_name = "MONTH")]
    pub(crate) month: Option<Period>,
}

/// A time that has begun. Its end is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Span {
    /// What is meant at `now`, or why that is nothing.
    pub(crate) fn range(&self, now: Timestamp) -> Result<Range, String> {
        if let Some(month) = self.month {
            let range = Range { from: month.begins(), to: month.ends() };
            return if range.from <= now { Ok(range) } else { Err("--month is yet to come".to_owned()) };
        }
        let from = self.since.before(now).ok_or("--since is too long ago")?;
        if from > now {
            return Err("--since is yet to come".to_owned());
        }
        let to = match self.until {
            Some(until) => until.before(now).ok_or("--until is too long ago")?,
            None => Timestamp::MAX,
        };
        if to > from { Ok(Range { from, to }) } else { Err("--until is not after --since".to_owned()) }
    }
}

/// What `usage` adds up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageBy {
    Method,
    Key,
    Network,
    Day,
    Status,
}

/// How `usage --export` writes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Export {
    /// Comma-separated values, with a header line
    Csv,
    /// An array of objects, each on a line of its own
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_in_the_past_and_ends_after_that() {
        let range = |since: &str, until: Option<&str>, month: Option<&str>| {
            let moment = |text: &str| moment(text).unwrap();
            let month = month.map(|month| month.parse().unwrap());
            let span = Span { since: moment(since), until: until.map(moment), month };
            span.range("2026-12-05T12:00:00Z".parse().unwrap())
        };
        let expected = |from: &str, to: &str| Ok(Range { from: from.parse().unwrap(), to: to.parse().unwrap() });
        let open = range("24h", None, None).unwrap();
        assert_eq!((open.from, open.to), ("2026-12-04T12:00:00Z".parse().unwrap(), Timestamp::MAX));
        assert_eq!(range("24h", Some("1h"), None), expected("2026-12-04T12:00:00Z", "2026-12-05T11:00:00Z"));
        assert_eq!(range("24h", None, Some("2026-11")), expected("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"));
        assert_eq!(range("24h", None, Some("2026-12")), expected("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"));
        assert_eq!(range("24h", None, Some("2027-01")), Err("--month is yet to come".to_owned()));
        assert_eq!(range("2026-12-06", None, None), Err("--since is yet to come".to_owned()));
        assert_eq!(range("1h", Some("1h"), None), Err("--until is not after --since".to_owned()));
    }
}
