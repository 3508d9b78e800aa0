//! `nodeweir usage`: what a project used, added up; or rows of it for a bill.

mod export;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyId};
use nodeweir_domain::gate::usage::{UsageCounts, UsageRow, day, minute};
use nodeweir_domain::name::ProjectId;
use nodeweir_domain::text::grouped;
use nodeweir_store::{GateStore, Kept};
use serde::Serialize;
use serde_json::json;

use super::key::shown_time;
use super::project::need;
use crate::args::{Export, Range, UsageBy, Used};
use crate::context::Usage;
use crate::output::{Outcome, Output, Tone};
use crate::place::Place;

/// Characters of the longest bar.
const BAR: u64 = 20;

/// A bar's end, by eighths of a character.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// What one method, key, network, day or status came to.
#[derive(Debug, Clone, Default, Serialize)]
struct Sum {
    #[serde(flatten)]
    counts: UsageCounts,
    /// Calls that were answered with a status of 400 or more.
    errors: u64,
    /// Of each request, if there was one.
    mean_milliseconds: Option<u64>,
    /// Of all credits, in hundredths of a percent; of all calls where none were charged.
    #[serde(skip)]
    share: u64,
}

impl Sum {
    fn add(&mut self, row: &UsageRow) {
        self.counts += row.counts;
        if row.of.status >= 400 {
            self.errors = self.errors.saturating_add(row.counts.calls);
        }
        self.mean_milliseconds = self.counts.milliseconds.checked_div(self.counts.requests);
    }
}

/// Refuses a bill that would be of a part only, because what was used that long ago is forgotten.
fn must_be_kept(range: Range, now: Timestamp) -> Result<(), Usage> {
    let first = day(now.checked_sub(Kept::USAGE_DAYS).unwrap_or(Timestamp::MIN));
    if range.from >= first {
        return Ok(());
    }
    let days = Kept::USAGE_DAYS.as_secs() / 86_400;
    let first = shown_day(first);
    Err(Usage(format!("usage is kept for {days} days, so that no bill can begin before {first}; name a later time")))
}

pub(super) async fn run(asked: Used, place: &impl Place, output: Output) -> Result<Outcome> {
    let now = Timestamp::now();
    let range = asked.span.range(now).map_err(Usage)?;
    if asked.export == Some(Export::Csv) && output.json {
        return Err(Usage("--export csv prints no JSON; leave out --json, or write --export json".to_owned()).into());
    }
    let projects = match &asked.project {
        Some(project) => vec![need(place, project).await?.id],
        None => place.store().projects().await?.into_iter().map(|project| project.id).collect(),
    };
    match (asked.export, projects.as_slice()) {
        (Some(format), projects) => {
            must_be_kept(range, now)?;
            export::run(projects, range, format, place.store(), output).await
        }
        (None, [project]) => show(project, asked.by, range, now, place.store(), output).await,
        (None, _) => Err(Usage("all projects can be exported only: add --export".to_owned()).into()),
    }
}

async fn show(
    project: &ProjectId,
    by: UsageBy,
    range: Range,
    now: Timestamp,
    store: &impl GateStore,
    output: Output,
) -> Result<Outcome> {
    let rows = store.usage(project, range.from, range.to).await?;
    let keys = store.keys(project).await?;
    // Where only days are known, they are known from their start.
    let since = rows.first().map_or(minute(range.from), |first| first.of.start.min(minute(range.from)));
    let (sums, total) = add_up(&rows, by);
    if output.json {
        let entry = |(label, sum): &(String, Sum)| {
            let mut value = json!(sum);
            value[by.as_str()] = json!(label);
            value["share"] = json!(f64::from(u32::try_from(sum.share).unwrap_or(0)) / 10_000.0);
            if by == UsageBy::Key {
                value["name"] = json!(name_of_text(label, &keys));
            }
            value
        };
        let rows: Vec<_> = sums.iter().map(entry).collect();
        let until = range.to.min(now);
        output.value(&json!({
            "project": project, "since": since, "until": until, "by": by.as_str(), "rows": rows, "total": total,
        }));
        return Ok(Outcome::Fine);
    }
    let when = match shown_time(since) {
        since if range.to > now => format!("since {since}"),
        since => format!("from {since} until {}", shown_time(range.to)),
    };
    if sums.is_empty() {
        output.line(&format!("{project} used nothing {when}"));
        return Ok(Outcome::Fine);
    }
    let most = sums.iter().map(|(_, sum)| sum.share).max().unwrap_or(0);
    let mut table: Vec<_> = sums
        .iter()
        .map(|(label, sum)| {
            let label = match name_of_text(label, &keys).filter(|_| by == UsageBy::Key) {
                Some(name) => format!("{name} ({label})"),
                None => label.clone(),
            };
            cells(&label, sum, &bar(sum.share, most))
        })
        .collect();
    table.push(cells("total", &total, ""));
    let title = by.as_str().to_uppercase();
    output.line(&format!("{project} {when}"));
    output.line(&output.table(&[&title, "", "SHARE", "CALLS", "CREDITS", "ERRORS", "MEAN"], table));
    Ok(Outcome::Fine)
}

impl UsageBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Key => "key",
            Self::Network => "network",
            Self::Day => "day",
            Self::Status => "status",
        }
    }

    fn label(self, row: &UsageRow) -> String {
        match self {
            Self::Method => row.of.method.clone(),
            Self::Key => row.of.key.to_string(),
            Self::Network => row.of.network.to_string(),
            Self::Day => shown_day(row.of.start),
            Self::Status => row.of.status.to_string(),
        }
    }
}

/// What costs most comes first; days and statuses come in their order.
fn add_up(rows: &[UsageRow], by: UsageBy) -> (Vec<(String, Sum)>, Sum) {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for row in rows {
        sums.entry(by.label(row)).or_default().add(row);
        total.add(row);
    }
    // What was refused or no node answered costs nothing, and statuses tell how many calls that were.
    let by_calls = total.counts.credits == 0 || by == UsageBy::Status;
    let part = |counts: &UsageCounts| if by_calls { counts.calls } else { counts.credits };
    let whole = u128::from(part(&total.counts)).max(1);
    let mut sums: Vec<_> = sums.into_iter().collect();
    for (_, sum) in &mut sums {
        sum.share = u64::try_from(u128::from(part(&sum.counts)) * 10_000 / whole).unwrap_or(0);
    }
    if !matches!(by, UsageBy::Day | UsageBy::Status) {
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.counts.credits, sum.counts.calls)));
    }
    (sums, total)
}

fn name_of<'a>(id: &KeyId, keys: &'a [Key]) -> Option<&'a str> {
    keys.iter().find(|key| key.id() == *id).map(|key| key.name.as_str())
}

fn name_of_text<'a>(id: &str, keys: &'a [Key]) -> Option<&'a str> {
    name_of(&id.parse().ok()?, keys)
}

/// The day in UTC that a moment is in.
fn shown_day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn cells(label: &str, sum: &Sum, bar: &str) -> Vec<(Tone, String)> {
    let share = if bar.is_empty() { String::new() } else { format!("{}.{:02}%", sum.share / 100, sum.share % 100) };
    let errors = if sum.errors > 0 { Tone::Odd } else { Tone::Plain };
    let mean = sum.mean_milliseconds.map_or("-".to_owned(), |mean| format!("{}ms", grouped(mean)));
    vec![
        (Tone::Plain, label.to_owned()),
        (Tone::Good, bar.to_owned()),
        (Tone::Plain, share),
        (Tone::Plain, grouped(sum.counts.calls)),
        (Tone::Plain, grouped(sum.counts.credits)),
        (errors, grouped(sum.errors)),
        (Tone::Plain, mean),
    ]
}

/// The longest for `most`, and something for the least.
fn bar(share: u64, most: u64) -> String {
    let eighths = (share * BAR * 8).checked_div(most).unwrap_or(0).max(1);
    let end = usize::try_from(eighths % 8).ok().and_then(|rest| EIGHTHS.get(rest)).copied().unwrap_or_default();
    let full = usize::try_from(eighths / 8).unwrap_or(0);
    format!("{}{end}", "█".repeat(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_begins_with_a_day_that_is_kept_whole() {
        let moment = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = moment("2026-12-05T12:00:00Z");
        let is_kept = |from: Timestamp| must_be_kept(Range { from, to: Timestamp::MAX }, now).is_ok();
        assert!(is_kept(moment("2025-10-31T00:00:00Z")) && is_kept(now - Kept::USAGE_DAYS));
        assert!(!is_kept(moment("2025-10-30T23:59:59Z")));
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        for (share, expected) in [(10_000, "█".repeat(20)), (5_000, "█".repeat(10)), (5_100, "█".repeat(10) + "▏")]
        {
            assert_eq!(bar(share, 10_000), expected);
        }
        assert_eq!((bar(0, 10_000).as_str(), bar(0, 0).as_str()), ("▏", "▏"));
    }
}
