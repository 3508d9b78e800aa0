//! The address of a Redis or Valkey, with a reference where its password belongs.

use std::fmt;
use std::str::FromStr;

use crate::fleet::node::{Host, SecretName, parse_host};
use crate::name::shown;

const DEFAULT_PORT: u16 = 6379;

/// A server has 16 databases unless it was told otherwise; this is far above what anybody has.
const MOST_DATABASES: u32 = 10_000;

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRedisUrl {
    /// It starts with something else.
    #[error("{0:?} is not local, nor does it start with redis:// or rediss://")]
    Scheme(String),
    /// Its password is no reference. The text is not shown again, because it may hold one.
    #[error("the password must be a reference: write :${{NAME}}@ before the host, and NAME under `secrets`")]
    Password,
    /// Its user is none.
    #[error("the user is written with letters, digits and . _ -, and a password follows it: user:${{NAME}}@")]
    User,
    /// The host is not a DNS name or an address.
    #[error("{0:?} is not a usable host: a DNS name, an IPv4 address or [IPv6] is expected")]
    Host(String),
    /// The port is not one.
    #[error("{0:?} is not a usable port: 1 to 65535 is expected")]
    Port(String),
    /// What follows the host is not the number of a database.
    #[error("{0:?} is not the number of a database, as in /0")]
    Database(String),
}

/// Where a Redis or Valkey is. Its text never holds the password, but the reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether the connection is encrypted and the server's name verified.
    pub is_tls: bool,
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Who asks; the server's user `default` if it is none.
    pub user: Option<String>,
    /// What the password is called.
    pub password: Option<SecretName>,
    /// The number of the database in it.
    pub database: u32,
}

impl FromStr for RedisUrl {
    type Err = BadRedisUrl;

    fn from_str(text: &str) -> Result<Self, BadRedisUrl> {
        let (is_tls, rest) = match text.strip_prefix("rediss://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("redis://").ok_or_else(|| scheme(text))?),
        };
        // A password that was written out may hold any of the signs that part an address.
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (user, password) = who.map_or(Ok((None, None)), credentials)?;
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host = parse_host(host).ok_or_else(|| BadRedisUrl::Host(shown(host)))?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => number(port)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0)
                .ok_or_else(|| BadRedisUrl::Port(shown(port)))?,
        };
        let database = match database {
            "" => 0,
            database => number(database)
                .filter(|number| *number < MOST_DATABASES)
                .ok_or_else(|| BadRedisUrl::Database(shown(database)))?,
        };
        Ok(Self { is_tls, host, port, user, password, database })
    }
}

/// What stands before the `@` is not shown.
fn scheme(text: &str) -> BadRedisUrl {
    let text = text.rsplit_once('@').map_or_else(|| shown(text), |(_, rest)| format!("…@{}", shown(rest)));
    BadRedisUrl::Scheme(text)
}

fn credentials(who: &str) -> Result<(Option<String>, Option<SecretName>), BadRedisUrl> {
    let Some((user, password)) = who.split_once(':') else { return Err(BadRedisUrl::User) };
    let name = password.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = name.and_then(|name| name.parse().ok()).ok_or(BadRedisUrl::Password)?;
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if user.len() > 128 || !user.bytes().all(is_good) {
        return Err(BadRedisUrl::User);
    }
    Ok(((!user.is_empty()).then(|| user.to_owned()), Some(name)))
}

/// Digits only: no sign, as numbers elsewhere may have.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "rediss://" } else { "redis://" })?;
        if let Some(password) = &self.password {
            write!(f, "{}:${{{password}}}@", self.user.as_deref().unwrap_or_default())?;
        }
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_and_shown() {
        for (text, all) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("rediss://cache.example.com:6380/3", "rediss://cache.example.com:6380/3"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
            ("redis://[::1]:7000/", "redis://[::1]:7000/0"),
            ("rediss://:${REDIS}@cache.example.com", "rediss://:${REDIS}@cache.example.com:6379/0"),
            ("rediss://gate:${REDIS}@cache.example.com/1", "rediss://gate:${REDIS}@cache.example.com:6379/1"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), all);
            assert_eq!(all.parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "Local",
            "http://127.0.0.1",
            "redis:127.0.0.1",
            "redis://",
            "redis://:6379",
            "redis://UPPER.example.com",
            "redis://a b",
            "redis://host:",
            "redis://host:0",
            "redis://host:65536",
            "redis://host:+1",
            "redis://host/a",
            "redis://host/-1",
            "redis://host/10000",
            "redis://host/1/2",
            "redis://host?db=1",
            "redis://::1",
            "redis://user@host",
            "redis://a b:${REDIS}@host",
            "redis://@host",
        ] {
            assert!(text.parse::<RedisUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_that_is_written_out_is_refused_and_not_shown() {
        for text in [
            "redis://:hunter2@host",
            "redis://gate:hunter2@host",
            "redis://gate:hun:ter2@host",
            "redis://gate:hunt@er2/x@host",
            "redis://hunter2@host",
            "redis://gate:${REDIS}hunter2@host",
            "redis://gate:${hunter2}@host",
            "redos://gate:hunter2@host",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("er2"), "{error}");
        }
    }
}
