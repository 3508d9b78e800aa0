//! The month that credits are granted for.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A calendar month in UTC, as text `2026-11`. Months order by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    /// 0 to 9999.
    year: i16,
    /// 1 to 12.
    month: i8,
}

impl Period {
    /// The month that `now` is in; whatever is before the year 0 counts as its first month.
    pub fn of(now: Timestamp) -> Self {
        let now = now.to_zoned(TimeZone::UTC);
        if now.year() < 0 { Self { year: 0, month: 1 } } else { Self { year: now.year(), month: now.month() } }
    }

    /// When it begins: 00:00 UTC on the first of the month.
    pub fn begins(self) -> Timestamp {
        let first = date(self.year, self.month, 1).to_zoned(TimeZone::UTC);
        first.map_or(Timestamp::MAX, |first| first.timestamp())
    }

    /// When it has ended, and the next one begins.
    pub fn ends(self) -> Timestamp {
        if self == self.next() { Timestamp::MAX } else { self.next().begins() }
    }

    /// The month after; the last one that there is follows itself.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self { year: 9999, month: 12 } => self,
            Self { year, month: 12 } => Self { year: year + 1, month: 1 },
            Self { year, month } => Self { year, month: month + 1 },
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04}-{:02}", self.year, self.month))
    }
}

/// Why a text is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a month: write year and month, such as 2026-11")]
pub struct BadPeriod {
    given: String,
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let parsed = || {
            let (year, month) = text.split_once('-')?;
            if year.len() != 4 || month.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                return None;
            }
            let (year, month) = (year.parse().ok()?, month.parse().ok()?);
            (1..=12).contains(&month).then_some(Self { year, month })
        };
        parsed().ok_or_else(|| BadPeriod { given: crate::name::shown(text) })
    }
}

impl TryFrom<String> for Period {
    type Error = BadPeriod;

    fn try_from(text: String) -> Result<Self, BadPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_one_of_utc() {
        assert_eq!(Period::of(at("2026-11-30T23:59:59.999999999Z")), period("2026-11"));
        assert_eq!(Period::of(at("2026-12-01T00:00:00Z")), period("2026-12"));
        assert_eq!(Period::of(at("2026-12-01T00:30:00+01:00")), period("2026-11"));
        assert_eq!(period("2026-11").begins(), at("2026-11-01T00:00:00Z"));
        assert_eq!(period("2026-12").ends(), at("2027-01-01T00:00:00Z"));
        assert_eq!(period("2024-02").next(), period("2024-03"));
        assert!(period("2026-12") < period("2027-01"));
    }

    #[test]
    fn no_moment_is_out_of_range() {
        assert_eq!(Period::of(Timestamp::MIN), period("0000-01"));
        assert_eq!(Period::of(Timestamp::MAX).ends(), Timestamp::MAX);
        assert_eq!(Period::of(Timestamp::MAX).next().to_string(), "9999-12");
    }

    #[test]
    fn a_month_is_text() {
        let written = serde_json::to_string(&period("0987-06")).unwrap();
        assert_eq!(written, "\"0987-06\"");
        assert_eq!(serde_json::from_str::<Period>(&written).unwrap(), period("0987-06"));
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "+026-01", "2026-011", "2026-01-", "-026-01", "2026-é"]
        {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
