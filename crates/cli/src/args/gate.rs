//! The command line of projects and keys.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use nodeweir_domain::gate::method::MethodPattern;
use nodeweir_domain::gate::project::{MOST_CREDITS, MOST_RATE};
use nodeweir_domain::gate::restrict::{OriginPattern, parse_range};
use nodeweir_domain::name::{KeyName, NetworkId, ProjectId, TierName};
use nodeweir_domain::text::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project
    Create {
        /// Its name
        name: ProjectId,
        /// What it may, as the configuration lists it
        #[arg(long, default_value = "free")]
        tier: TierName,
        #[command(flatten)]
        limits: Limits,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List all projects
    List,
    /// What a project may, what it has left, and its keys
    Show {
        /// The project
        name: ProjectId,
    },
    /// Move a project to another tier; limits of its own that are not named end
    SetTier {
        /// The project
        name: ProjectId,
        /// What it may from now on, as the configuration lists it
        tier: TierName,
        #[command(flatten)]
        limits: Limits,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a project more than its tier has: credits for this month, costly methods, or WebSockets
    Grant {
        /// The project
        name: ProjectId,
        #[command(flatten)]
        what: Granted,
        /// Take the methods or WebSockets back that it was given
        #[arg(long, conflicts_with = "credits")]
        take_back: bool,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// A project's own limits.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Limits {
    /// Requests per second of each key, instead of the tier's; the burst is twice as much
    #[arg(long, value_parser = rate, value_name = "N")]
    pub(crate) requests_per_second: Option<NonZeroU32>,
    /// Credits granted each month, instead of the tier's
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=MOST_CREDITS), value_name = "N")]
    pub(crate) credits_per_month: Option<u64>,
}

#[derive(Debug, Clone, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Granted {
    /// Credits, added to those of this month
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MOST_CREDITS), value_name = "N")]
    pub(crate) credits: Option<u64>,
    /// Costly methods: 'debug_*', 'trace_*', whole or in part
    #[arg(long, num_args = 1.., value_name = "METHOD")]
    pub(crate) methods: Vec<MethodPattern>,
    /// WebSockets, whose messages are neither limited nor charged
    #[arg(long)]
    pub(crate) websocket: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; it is shown once, with the addresses to call
    Create {
        /// Whose it shall be
        project: ProjectId,
        /// What to call it
        #[arg(long, default_value = "default")]
        name: KeyName,
        #[command(flatten)]
        uses: Uses,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List a project's keys
    List {
        /// The project
        project: ProjectId,
    },
    /// What a key may be used for
    Show {
        #[command(flatten)]
        key: Named,
    },
    /// Change what a key may be used for; what is named is replaced, the rest stays
    Restrict {
        #[command(flatten)]
        key: Named,
        #[command(flatten)]
        uses: Uses,
        /// Lift a restriction, or take a grant back
        #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
        clear: Vec<Clearable>,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a new key in a key's place; the old one goes on for a while
    Rotate {
        #[command(flatten)]
        key: Named,
        /// How long the old one goes on, such as 30m or 7d
        #[arg(long, value_parser = span, default_value = "24h", value_name = "TIME")]
        keep_old: Duration,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Refuse a key from now on, for good
    Revoke {
        #[command(flatten)]
        key: Named,
        /// Say what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which key.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Named {
    /// The project
    pub(crate) project: ProjectId,
    /// The key's name or id
    pub(crate) key: String,
}

/// What a key may be used for. Each flag may be given several times.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Uses {
    /// Only on this network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Vec<NetworkId>,
    /// Only from this web page: `https://app.example.com`, app.example.com or '*.example.com'
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<OriginPattern>,
    /// Only from this address or range, such as 192.0.2.7 or 10.0.0.0/8
    #[arg(long, value_parser = parse_range, value_name = "CIDR")]
    pub(crate) address: Vec<IpNet>,
    /// Only this method: `eth_call`, or `'eth_get*'`
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Vec<MethodPattern>,
    /// Also this costly method, beyond what the project has: 'debug_*', 'trace_*', whole or in part
    #[arg(long, value_name = "METHOD")]
    pub(crate) grant_method: Vec<MethodPattern>,
    /// Also WebSockets, whose messages are neither limited nor charged
    #[arg(long)]
    pub(crate) websocket: bool,
    /// Refuse it from then on: after a time, such as 30d, or at a moment, such as 2026-12-31
    #[arg(long, value_parser = moment, value_name = "TIME")]
    pub(crate) expires: Option<Moment>,
}

/// What `key restrict --clear` lifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clearable {
    Networks,
    Origins,
    Addresses,
    Methods,
    GrantedMethods,
    Websocket,
    Expires,
}

/// A moment, or how far it is from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Away(Duration),
}

impl Moment {
    /// Counted forwards from `now`. `None` beyond all calendars.
    pub(crate) fn after(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Away(time) => now.checked_add(time).ok(),
        }
    }

    /// Counted backwards from `now`. `None` beyond all calendars.
    pub(crate) fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Away(time) => now.checked_sub(time).ok(),
        }
    }
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    // A date with a time but no zone would be read as that date.
    let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
    let date = || date?.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp());
    if let Some(at) = text.parse().ok().or_else(date) {
        return Ok(Moment::At(at));
    }
    span(text).map(Moment::Away).map_err(|_| {
        "write how long, such as 24h or 30d, or a moment, such as 2026-12-31 or 2026-12-31T18:00:00Z".to_owned()
    })
}

/// Unlike in the configuration, people count in days here.
fn span(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(86_400));
    match days {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => parse_duration(text).map_err(|_| "write how long, such as 30m, 24h or 7d".to_owned()),
    }
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = text.parse().ok().filter(|rate: &NonZeroU32| rate.get() <= MOST_RATE);
    rate.ok_or_else(|| format!("1 to {MOST_RATE} is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_one_or_how_far_it_is() {
        let midnight: Timestamp = "2026-12-31T00:00:00Z".parse().unwrap();
        for (text, after) in [
            ("2026-12-31", midnight),
            ("2026-12-31T01:00:00+01:00", midnight),
            ("30d", midnight + Duration::from_secs(30 * 86_400)),
            ("1h30m", midnight + Duration::from_secs(5400)),
        ] {
            assert_eq!(moment(text).unwrap().after(midnight), Some(after), "{text}");
        }
        assert_eq!(moment("7d").unwrap().before(midnight), "2026-12-24T00:00:00Z".parse().ok());
        for bad in ["", "d", "30", "soon", "-1d", "1.5d", "2026-13-01", "99999999999999999999d", "2026-12-31T18:00"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!(moment("999999999999d").unwrap().after(midnight), None);
        assert_eq!(moment("999999999999d").unwrap().before(midnight), None);
    }
}
