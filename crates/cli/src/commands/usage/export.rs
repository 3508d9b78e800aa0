//! Usage as rows for a bill: one for each project, day, key, network, method and status, in that order.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use csv::{Terminator, Writer, WriterBuilder};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nodeweir_domain::gate::key::{Key, KeyId};
use nodeweir_domain::gate::usage::{UsageCounts, UsageKey, UsageRow, day};
use nodeweir_domain::name::{NetworkId, ProjectId};
use nodeweir_store::{GateStore, StoreError};
use serde::Serialize;

use super::{name_of, shown_day};
use crate::args::{Export, Range};
use crate::output::{Outcome, Output};

/// Projects that are read at once: each is several calls where the store is far away.
const AT_ONCE: usize = 8;

/// The header line.
const COLUMNS: [&str; 13] = [
    "project",
    "day",
    "key",
    "name",
    "network",
    "method",
    "status",
    "requests",
    "calls",
    "credits",
    "milliseconds",
    "bytes_in",
    "bytes_out",
];

/// One row; its fields are [`COLUMNS`].
#[derive(Debug, Serialize)]
struct Row<'a> {
    project: &'a ProjectId,
    /// In UTC.
    day: String,
    key: &'a KeyId,
    /// What the key is called by now.
    name: Option<&'a str>,
    network: &'a NetworkId,
    method: &'a str,
    status: u16,
    requests: u64,
    calls: u64,
    credits: u64,
    milliseconds: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl<'a> Row<'a> {
    fn of(of: &'a UsageKey, counts: &UsageCounts, keys: &'a [Key]) -> Self {
        let UsageKey { start, project, key, network, method, status } = of;
        let UsageCounts { requests, calls, credits, milliseconds, bytes_in, bytes_out } = *counts;
        Self {
            project,
            day: shown_day(*start),
            key,
            name: name_of(key, keys),
            network,
            method,
            status: *status,
            requests,
            calls,
            credits,
            milliseconds,
            bytes_in,
            bytes_out,
        }
    }
}

/// What a project used.
struct Used {
    /// By the day.
    days: BTreeMap<UsageKey, UsageCounts>,
    keys: Vec<Key>,
}

/// Prints all rows, or none if any of them cannot be read: half a bill must not be taken for one.
pub(super) async fn run(
    projects: &[ProjectId],
    range: Range,
    format: Export,
    store: &impl GateStore,
    output: Output,
) -> Result<Outcome> {
    let mut sheet = Sheet::new(format)?;
    let mut read = stream::iter(projects).map(|project| read(store, project, range)).buffered(AT_ONCE);
    while let Some(Used { days, keys }) = read.try_next().await? {
        for (of, counts) in &days {
            sheet.add(&Row::of(of, counts, &keys))?;
        }
    }
    output.text(&sheet.finish()?).context("not all rows were printed")?;
    Ok(Outcome::Fine)
}

async fn read(store: &impl GateStore, project: &ProjectId, range: Range) -> Result<Used, StoreError> {
    let mut days: BTreeMap<UsageKey, UsageCounts> = BTreeMap::new();
    for UsageRow { of, counts } in store.usage(project, range.from, range.to).await? {
        let of = UsageKey { start: day(of.start), ..of };
        *days.entry(of).or_default() += counts;
    }
    let keys = if days.is_empty() { Vec::new() } else { store.keys(project).await? };
    Ok(Used { days, keys })
}

/// Rows as text.
enum Sheet {
    /// RFC 4180.
    Csv(Box<Writer<Vec<u8>>>),
    /// An array that has no end yet.
    Json(Vec<u8>),
}

impl Sheet {
    fn new(format: Export) -> Result<Self> {
        Ok(match format {
            Export::Csv => {
                // The header of its own making would wait for a first row.
                let mut builder = WriterBuilder::new();
                let mut writer = builder.has_headers(false).terminator(Terminator::CRLF).from_writer(Vec::new());
                writer.write_record(COLUMNS)?;
                Self::Csv(Box::new(writer))
            }
            Export::Json => Self::Json(b"[".to_vec()),
        })
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        match self {
            Self::Csv(writer) => writer.serialize(row)?,
            Self::Json(text) => {
                let is_first = text.len() == 1;
                text.extend_from_slice(if is_first { b"\n" } else { b",\n" });
                serde_json::to_writer(text, row)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Csv(writer) => Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?),
            Self::Json(mut text) => {
                text.extend_from_slice(b"\n]\n");
                Ok(text)
            }
        }
    }
}
