//! Names that people give to networks, nodes and projects, and that sidecars give to themselves.
//!
//! They appear in configuration files, socket paths, metrics and response headers, so they are made of the few
//! characters that mean nothing in any of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name is refused; the sentence tells what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {given:?} is not usable: {rule}")]
pub struct BadName {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

/// Words that a network cannot be called: the first six stand in addresses, the others mean something else than a
/// value where nginx maps networks (`include` would read a file).
const RESERVED: [&str; 10] =
    ["v2", "v3", "ws", "livez", "readyz", "metrics", "default", "hostnames", "include", "volatile"];

/// With this before it, a network's name means its group of last resort in the proxies' files.
const RESERVED_START: &str = "fallback-";

fn is_name(text: &str, most: usize) -> bool {
    text.len() <= most
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// At most this much of a refused text is shown again.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `text` without control characters: what people wrote must not steer the terminal of whoever reads about it.
pub(crate) fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::new(), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_debug())
        } else {
            text.push(c)
        }
        text
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $most:literal, $rule:literal, $extra:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let extra: fn(&str) -> bool = $extra;
                if is_name(text, $most) && extra(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadName { kind: $kind, given: shown(text), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A chain behind the proxy, as it stands in addresses: `ethereum`, `polygon`.
    NetworkId,
    "network",
    32,
    "use 1 to 32 of a-z, 0-9 and '-', not at the ends, and none of v2, v3, ws, livez, readyz, metrics, \
     default, hostnames, include, volatile, or what starts with fallback-",
    |text| !RESERVED.contains(&text) && !text.starts_with(RESERVED_START)
);

name!(
    /// A node's short name, unique in its network; it is shown to clients in `X-RPC-Endpoint`.
    NodeName,
    "node",
    40,
    "use 1 to 40 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// Who pays: a project's name, unique in an installation. It stands in logs and reports.
    ProjectId,
    "project",
    32,
    "use 1 to 32 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// A key's name, unique among the keys of its project that are not revoked.
    KeyName,
    "key",
    40,
    "use 1 to 40 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// A tier's name, as the configuration has it.
    TierName,
    "tier",
    32,
    "use 1 to 32 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// One running sidecar. Each start takes a name that none had before (a random part does), because whoever bears a
    /// name answers for the credits that were leased to it.
    SidecarId,
    "sidecar",
    40,
    "use 1 to 40 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// One proxy's access log. It keeps its name when the sidecar that reads it starts anew, because the new one goes
    /// on where the old one stood.
    LogName,
    "log",
    40,
    "use 1 to 40 of a-z, 0-9 and '-', not at the ends",
    |_| true
);

name!(
    /// A deployment on AWS, such as `dev`. It is part of the names of its stack, functions, alarms and log groups.
    StageName,
    "stage",
    30,
    "use 1 to 30 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'",
    |text| text.starts_with(|c: char| c.is_ascii_lowercase())
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["ethereum", "a", "node-1", "7", "arbitrum-one"] {
            assert!(good.parse::<NetworkId>().is_ok(), "{good}");
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        let long = "a".repeat(41);
        for bad in ["", "-a", "a-", "A", "a b", "a;", "a\n", "é", "а", "a/b", "a.b", "a\"", "$x", "{", &long] {
            assert!(bad.parse::<NetworkId>().is_err(), "{bad}");
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        for bad in RESERVED.into_iter().chain(["fallback-ethereum"]) {
            let error = bad.parse::<NetworkId>().unwrap_err().to_string();
            assert!(error.contains("default, hostnames"), "{error}");
            assert!(bad.parse::<NodeName>().is_ok(), "{bad}");
        }
    }

    /// The deployment has the same rule.
    #[test]
    fn a_stage_begins_with_a_letter() {
        for good in ["d", "dev", "eu-2", &"a".repeat(30)] {
            assert!(good.parse::<StageName>().is_ok(), "{good}");
        }
        for bad in ["", "2-eu", "-a", "a-", "Dev", "../dev", &"a".repeat(31)] {
            assert!(bad.parse::<StageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_shows_the_name_safely_and_says_the_rule() {
        let error = "a\nb".parse::<NodeName>().unwrap_err().to_string();
        assert_eq!(error, "node name \"a\\nb\" is not usable: use 1 to 40 of a-z, 0-9 and '-', not at the ends");
    }
}
