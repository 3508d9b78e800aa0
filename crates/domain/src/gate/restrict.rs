//! What a key may be used for, and from where.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::method::MethodPattern;
use crate::name::NetworkId;

/// Restrictions of a key. An empty list restricts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Restrictions {
    /// The only networks.
    pub networks: Vec<NetworkId>,
    /// The only web pages, by the `Origin` that browsers send.
    pub origins: Vec<OriginPattern>,
    /// The only addresses of clients.
    pub addresses: Vec<IpNet>,
    /// The only methods.
    pub methods: Vec<MethodPattern>,
    /// Costly methods (`debug_*`, `trace_*`) that it is given beyond what its project has.
    pub granted_methods: Vec<MethodPattern>,
    /// Whether it may open WebSockets, whose messages are neither limited nor charged.
    pub websocket: bool,
}

impl Restrictions {
    /// Whether a network may be called.
    pub fn allows_network(&self, network: &str) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|allowed| allowed.as_str() == network)
    }

    /// Whether a web page may call. `origin` is the header as it came, empty if there was none; who sends none is no
    /// browser, and is refused where origins are restricted.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|allowed| allowed.matches(origin))
    }

    /// Whether a client at this address may call. An unknown address is refused where addresses are restricted.
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        self.addresses.is_empty()
            || address.is_some_and(|address| self.addresses.iter().any(|allowed| allowed.contains(&address)))
    }

    /// Whether a method is among those it is restricted to.
    pub fn allows_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|allowed| allowed.matches(method))
    }
}

/// Web pages that may call: `https://app.example.com`, `app.example.com` (by http or https), `*.example.com` (every
/// host below it, not itself), each with a port where it is not the usual one: browsers leave that out, so it means the
/// same to write it or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    scheme: Option<String>,
    below: bool,
    host: String,
    port: Option<u16>,
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: write one as https://app.example.com, app.example.com or *.example.com")]
pub struct BadOrigin(String);

/// An `Origin` header in its parts (RFC 6454, section 6.2).
struct Origin<'a> {
    scheme: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        // The brackets of an IPv6 address hold colons.
        let port_at = rest.rfind(':').filter(|at| rest[*at..].find(']').is_none());
        let (host, port) = match port_at {
            Some(at) => (&rest[..at], Some(rest[at + 1..].parse().ok()?)),
            None => (rest, None),
        };
        let is_host = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
        is_host.then_some(Self { scheme, host, port })
    }
}

/// The port, unless it is the one that the scheme has anyway.
fn unusual(scheme: &str, port: Option<u16>) -> Option<u16> {
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return port,
    };
    port.filter(|port| *port != usual)
}

impl OriginPattern {
    fn matches(&self, origin: &str) -> bool {
        let Some(Origin { scheme: Some(scheme), host, port }) = Origin::parse(origin) else { return false };
        let scheme = scheme.to_ascii_lowercase();
        let right_scheme = match &self.scheme {
            Some(own) => scheme == *own,
            None => scheme == "https" || scheme == "http",
        };
        let right_host = if self.below {
            let rest = host.len().checked_sub(self.host.len() + 1);
            rest.is_some_and(|rest| {
                rest > 0
                    && host.as_bytes()[rest] == b'.'
                    && host.as_bytes()[rest + 1..].eq_ignore_ascii_case(self.host.as_bytes())
            })
        } else {
            host.eq_ignore_ascii_case(&self.host)
        };
        right_scheme && right_host && unusual(&scheme, port) == unusual(&scheme, self.port)
    }
}

impl FromStr for OriginPattern {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(crate::name::shown(text));
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = match lower.split_once("://") {
            Some((scheme @ ("http" | "https" | "chrome-extension" | "moz-extension"), rest)) => {
                (Some(scheme.to_owned()), rest)
            }
            Some(_) => return Err(bad()),
            None => (None, lower.as_str()),
        };
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let Origin { host, port, .. } = Origin::parse(rest).ok_or_else(bad)?;
        let port = scheme.as_deref().map_or(port, |scheme| unusual(scheme, port));
        Ok(Self { scheme, below, host: host.to_owned(), port })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        if self.below {
            f.write_str("*.")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = BadOrigin;

    fn try_from(text: String) -> Result<Self, BadOrigin> {
        text.parse()
    }
}

impl From<OriginPattern> for String {
    fn from(pattern: OriginPattern) -> String {
        pattern.to_string()
    }
}

/// Reads an address or a range: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
pub fn parse_range(text: &str) -> Result<IpNet, String> {
    let range = text.parse::<IpNet>().or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error));
    range.map(|range| range.trunc()).map_err(|_| {
        format!("{:?} is not an address or range such as 192.0.2.7 or 10.0.0.0/8", crate::name::shown(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(patterns: &[&str]) -> Restrictions {
        Restrictions { origins: patterns.iter().map(|p| p.parse().unwrap()).collect(), ..Restrictions::default() }
    }

    #[test]
    fn nothing_is_restricted_by_default() {
        let free = Restrictions::default();
        assert!(free.allows_network("any") && free.allows_origin("") && free.allows_address(None));
        assert!(free.allows_method("eth_call"));
        assert!(!free.websocket);
    }

    #[test]
    fn origins_are_compared_part_by_part() {
        let only = origins(&["https://app.example.com"]);
        assert!(only.allows_origin("https://app.example.com") && only.allows_origin("HTTPS://App.Example.com"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.net",
            "https://evilapp.example.com",
            "https://example.com",
            "null",
            "",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com@evil.net",
        ] {
            assert!(!only.allows_origin(other), "{other}");
        }
        let below = origins(&["*.example.com"]);
        assert!(below.allows_origin("https://a.example.com") && below.allows_origin("http://a.b.example.com"));
        for other in ["https://example.com", "https://.example.com", "https://xexample.com", "ftp://a.example.com"] {
            assert!(!below.allows_origin(other), "{other}");
        }
        let local = origins(&["localhost:3000", "http://[::1]:3000"]);
        assert!(local.allows_origin("http://localhost:3000") && local.allows_origin("http://[::1]:3000"));
        assert!(!local.allows_origin("http://localhost"));
    }

    /// Browsers leave out the port that a scheme has anyway, so a pattern with it once matched nothing.
    #[test]
    fn the_usual_port_may_be_written_or_not() {
        for (pattern, good, bad) in [
            ("https://a.example:443", &["https://a.example", "https://a.example:443"][..], "https://a.example:80"),
            ("https://a.example", &["https://a.example:443", "HTTPS://a.example:443"], "https://a.example:444"),
            ("http://a.example:80", &["http://a.example"], "http://a.example:443"),
            ("http://[::1]:80", &["http://[::1]"], "http://[::1]:443"),
            ("*.example:443", &["https://a.example", "http://a.example:443"], "http://a.example"),
            ("a.example", &["https://a.example:443", "http://a.example:80"], "http://a.example:443"),
        ] {
            let only = origins(&[pattern]);
            assert!(good.iter().all(|origin| only.allows_origin(origin)), "{pattern}");
            assert!(!only.allows_origin(bad), "{pattern}");
        }
        for (written, meant) in [("https://a.example:443", "https://a.example"), ("http://*.b:80", "http://*.b")] {
            assert_eq!(written.parse::<OriginPattern>().unwrap().to_string(), meant);
        }
        // Without a scheme it is a port like any other.
        assert_eq!("a.example:443".parse::<OriginPattern>().unwrap().to_string(), "a.example:443");
    }

    #[test]
    fn a_pattern_is_written_back_as_it_was_meant() {
        for text in ["https://app.example.com", "*.example.com", "localhost:3000", "https://*.example.com:8443"] {
            assert_eq!(text.parse::<OriginPattern>().unwrap().to_string(), text);
        }
        for bad in ["", "*", "https://", "ftp://a", "a b", "https://a/b", "a:b", "é.example.com", "https://*"] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_compared_as_what_they_mean() {
        let inside = Restrictions {
            addresses: ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(|text| parse_range(text).unwrap()).to_vec(),
            ..Restrictions::default()
        };
        for good in ["10.1.2.3", "192.0.2.7", "2001:db8::9", "::ffff:10.0.0.1"] {
            assert!(inside.allows_address(good.parse().ok()), "{good}");
        }
        for bad in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "garbage"] {
            assert!(!inside.allows_address(bad.parse().ok()), "{bad}");
        }
        assert!(parse_range("10.0.0.0/33").is_err() && parse_range("x").is_err());
        assert_eq!(parse_range("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
    }
}
