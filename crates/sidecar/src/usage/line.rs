//! A line of the access log.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::usage::{UsageKey, minute};
use nodeweir_domain::name::{NetworkId, ProjectId};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What nginx wrote of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When the request began; it was charged then.
    pub(super) started: Timestamp,
    pub(super) project: ProjectId,
    pub(super) key: KeyId,
    pub(super) network: NetworkId,
    /// At least one.
    pub(super) methods: Vec<Method>,
    pub(super) cost: u64,
    pub(super) status: u16,
    pub(super) milliseconds: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// What was called, how often, and what all of it cost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) credits: u64,
}

/// As it stands there. Numbers stay as they are written, because decimals are not for floating point.
#[derive(Deserialize)]
struct Written<'a> {
    /// Unix seconds with milliseconds, when the request ended.
    #[serde(borrow)]
    time: &'a RawValue,
    project: &'a str,
    key: &'a str,
    network: &'a str,
    /// `method:calls:credits`, with commas between them.
    methods: &'a str,
    cost: u64,
    status: u16,
    /// Seconds with milliseconds.
    #[serde(borrow)]
    seconds: &'a RawValue,
    bytes_in: u64,
    bytes_out: u64,
}

impl Line {
    /// Reads one line; the error says what is wrong without repeating it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let written: Written<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let ended = milliseconds(written.time.get())?;
        let took = milliseconds(written.seconds.get())?;
        let ended = i64::try_from(ended).ok().and_then(|ended| Timestamp::from_millisecond(ended).ok());
        let took_signed = SignedDuration::from_millis(i64::try_from(took).map_err(|error| error.to_string())?);
        let started =
            ended.and_then(|ended| ended.checked_sub(took_signed).ok()).ok_or("a time beyond all calendars")?;
        let methods = written.methods.split(',').map(method).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            started,
            project: written.project.parse().map_err(|_| "no project")?,
            key: written.key.parse().map_err(|_| "no key")?,
            network: written.network.parse().map_err(|_| "no network")?,
            methods,
            cost: written.cost,
            status: written.status,
            milliseconds: took,
            bytes_in: written.bytes_in,
            bytes_out: written.bytes_out,
        })
    }

    /// Whether no node gave an answer, which clients do not pay.
    pub(super) fn is_upstreams_fault(&self) -> bool {
        matches!(self.status, 502..=504)
    }

    pub(super) fn ended(&self) -> Timestamp {
        self.started.checked_add(Duration::from_millis(self.milliseconds)).unwrap_or(self.started)
    }

    pub(super) fn row(&self, method: &str) -> UsageKey {
        UsageKey {
            start: minute(self.started),
            project: self.project.clone(),
            key: self.key,
            network: self.network.clone(),
            method: method.to_owned(),
            status: self.status,
        }
    }
}

fn method(text: &str) -> Result<Method, String> {
    let mut parts = text.split(':');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or("no method")?;
    let mut count = || parts.next().ok_or_else(|| "no count of a method".to_owned()).and_then(number);
    Ok(Method { name: name.to_owned(), calls: count()?, credits: count()? })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("no number: {error}"))
}

/// `1.234` seconds in milliseconds. nginx always writes three decimals.
fn milliseconds(text: &str) -> Result<u64, String> {
    let (seconds, rest) = text.split_once('.').ok_or("a time without decimals")?;
    let (seconds, rest) = (number(seconds)?, number(rest)?);
    seconds.checked_mul(1000).and_then(|ms| ms.checked_add(rest)).ok_or_else(|| "a time beyond all numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"time":1763700000.250,"project":"shop","key":"0123456789ab","network":"ethereum","methods":"eth_call:2:2,eth_getLogs:1:5","cost":7,"status":200,"seconds":0.500,"bytes_in":300,"bytes_out":900}"#;

    #[test]
    fn a_line_is_read_as_nginx_writes_it() {
        let line = Line::read(GOOD.as_bytes()).unwrap();
        assert_eq!(line.started.as_millisecond(), 1_763_699_999_750);
        assert_eq!(line.methods.len(), 2);
        let logs = Method { name: "eth_getLogs".to_owned(), calls: 1, credits: 5 };
        assert_eq!((line.cost, line.milliseconds, &line.methods[1]), (7, 500, &logs));
        assert!(!line.is_upstreams_fault());
    }

    #[test]
    fn what_is_no_line_is_told_apart() {
        for (from, to) in [
            ("250", "x"),
            ("\"shop\"", "\"\""),
            ("eth_call:2:2", ""),
            ("\"cost\":7", "\"cost\":-"),
            ("0123456789ab", "nw_"),
            ("0.500", "0"),
            ("{", ""),
            ("1763700000", "99999999999999999999"),
            ("1763700000", "9999999999999999"),
        ] {
            assert!(Line::read(GOOD.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Line::read(b"\xff\x00").is_err());
    }
}
