//! A node's URL, reduced to what may stand in a configuration file.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SecretName;
use crate::name::shown;

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It does not start with one of the four schemes.
    #[error("{0:?} does not start with http://, https://, ws:// or wss://")]
    Scheme(String),
    /// It holds a character that no node's URL needs.
    #[error("{0:?} holds {1:?}; a URL is written with letters, digits and . - _ ~ : / [ ] and ${{NAME}} for a secret")]
    Character(String, char),
    /// It has a user or a password.
    #[error("{0:?} holds a user or password; use a secret in the path, or a network that needs neither")]
    Userinfo(String),
    /// It has a query or fragment.
    #[error("{0:?} holds a query or fragment, which a JSON-RPC address does not need")]
    Query(String),
    /// The host is not a DNS name or an address.
    #[error("{0:?} has no usable host: a DNS name, an IPv4 address or [IPv6] is expected")]
    Host(String),
    /// The port is not one.
    #[error("{0:?} has no usable port: 1 to 65535 is expected")]
    Port(String),
    /// A `$` is not a well-formed reference inside the path.
    #[error("{0:?} uses `$` other than as ${{NAME}} in the path, with NAME of A-Z, 0-9 and _")]
    Reference(String),
    /// Longer than any real one.
    #[error("the URL is {0} characters long, 512 are allowed")]
    Long(usize),
    /// The wrong scheme for the place.
    #[error("{0:?} must start with {1}")]
    Expected(String, &'static str),
}

/// How a node is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `ws`
    Ws,
    /// `wss`
    Wss,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Ws, Self::Wss];

    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether the connection is encrypted and the server's name verified.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Whether this is a WebSocket scheme.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn default_port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }
}

/// A host: a lower-case DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// A DNS name of letters, digits and `-` in labels.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

impl Host {
    /// Whether it is an address, so that nothing has to be resolved.
    pub fn is_ip(&self) -> bool {
        !matches!(self, Self::Name(_))
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::V4(ip) => ip.is_loopback(),
            Self::V6(ip) => ip.is_loopback(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// Reads a host as it stands in a URL or a Host header without port.
pub fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse().ok().map(Host::V6);
    }
    if let Ok(ip) = text.parse() {
        return Some(Host::V4(ip));
    }
    // nginx would read `unix:8545` as the path of a socket.
    if text == "unix" {
        return None;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    // A last label of digits would be read as an IPv4 address in one of its odd spellings by some resolvers.
    let last_is_number =
        text.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()) || l.starts_with("0x"));
    (text.len() <= 253 && !last_is_number && text.split('.').all(label)).then(|| Host::Name(text.to_owned()))
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_host(&text).ok_or_else(|| {
            format!("{:?} is not a host: a lower-case DNS name, an IPv4 address or [IPv6] is expected", shown(&text))
        })
    }
}

impl From<Host> for String {
    fn from(host: Host) -> String {
        host.to_string()
    }
}

/// A checked URL of a node. Its text is canonical (lower-case host, no default port, dots resolved), holds no
/// character that means something in a proxy's configuration except in `${NAME}`, and never a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
}

/// Bytes of a URL, as it is written and as it is shown.
const MOST: usize = 512;

/// Stands for `${` and `}` while the URL parser, which would escape them, looks at the rest.
const OPEN: &str = "secret-reference-";
const CLOSE: &str = "-reference-end";

impl NodeUrl {
    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port, explicit or the scheme's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its path, `/` at least, with `${NAME}` where a secret belongs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and, unless it is the scheme's own, port: what a Host header holds.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.host.to_string() } else { self.socket() }
    }

    /// Host and port, always both.
    pub fn socket(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Neither TLS nor a path: the kind that can stand beside others in one group of servers.
    pub fn is_plain(&self) -> bool {
        !self.scheme.is_tls() && self.path == "/"
    }

    /// The names of the secrets in its path.
    pub fn secrets(&self) -> impl Iterator<Item = SecretName> + '_ {
        self.path.split("${").skip(1).filter_map(|rest| rest.split('}').next()?.parse().ok())
    }

    /// Refuses any other scheme than the two of HTTP.
    pub fn expect_http(self) -> Result<Self, BadUrl> {
        if self.scheme.is_websocket() {
            Err(BadUrl::Expected(self.to_string(), "http:// or https://"))
        } else {
            Ok(self)
        }
    }

    /// Refuses any other scheme than the two of WebSocket.
    pub fn expect_websocket(self) -> Result<Self, BadUrl> {
        if self.scheme.is_websocket() { Ok(self) } else { Err(BadUrl::Expected(self.to_string(), "ws:// or wss://")) }
    }
}

impl FromStr for NodeUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if text.len() > MOST {
            return Err(BadUrl::Long(text.chars().count()));
        }
        if let Some((before, after)) = text.rsplit_once('@') {
            // Nothing before it is shown again: a password may hold any sign.
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let scheme = Scheme::ALL.into_iter().find(|known| known.as_str() == scheme).map_or("", Scheme::as_str);
            return Err(BadUrl::Userinfo(format!("{scheme}://…@{}", without_query(after))));
        }
        let scheme = Scheme::ALL
            .into_iter()
            .find(|scheme| text.strip_prefix(scheme.as_str()).is_some_and(|rest| rest.starts_with("://")))
            .ok_or_else(|| BadUrl::Scheme(without_query(text)))?;
        let rest = &text[scheme.as_str().len() + 3..];
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.is_empty() {
            return Err(BadUrl::Host(text.to_owned()));
        }
        if text.contains(['?', '#']) {
            return Err(BadUrl::Query(without_query(text)));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_~:/[]${}".contains(c);
        if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadUrl::Character(text.to_owned(), wrong));
        }
        let hidden = hide_references(text, authority)?;
        let parsed = url::Url::parse(&hidden).map_err(|error| match error {
            url::ParseError::InvalidPort => BadUrl::Port(text.to_owned()),
            _ => BadUrl::Host(text.to_owned()),
        })?;
        let host = parsed.host_str().and_then(parse_host).ok_or_else(|| BadUrl::Host(text.to_owned()))?;
        let port =
            parsed.port_or_known_default().filter(|port| *port > 0).ok_or_else(|| BadUrl::Port(text.to_owned()))?;
        let path = parsed.path().replace(OPEN, "${").replace(CLOSE, "}");
        if path.contains(['[', ']', ':']) {
            return Err(BadUrl::Character(text.to_owned(), path.chars().find(|c| "[]:".contains(*c)).unwrap_or(':')));
        }
        let url = Self { scheme, host, port, path };
        // An address in an odd spelling is longer in the usual one, in which the URL is read again.
        match url.to_string().len() {
            length if length > MOST => Err(BadUrl::Long(length)),
            _ => Ok(url),
        }
    }
}

/// A query may hold a key, so it is not shown again.
fn without_query(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(at) => format!("{}…", &text[..=at]),
        None => text.to_owned(),
    }
}

/// Replaces each `${NAME}` in the path by plain letters; any other use of `$`, `{` or `}` is a fault.
fn hide_references(text: &str, authority: &str) -> Result<String, BadUrl> {
    let wrong = || BadUrl::Reference(text.to_owned());
    if authority.contains(['$', '{', '}']) || text.contains(OPEN) || text.contains(CLOSE) {
        return Err(wrong());
    }
    let mut pieces = text.split("${");
    let mut hidden = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').ok_or_else(wrong)?;
        let name: SecretName = name.parse().map_err(|_| wrong())?;
        hidden.push_str(OPEN);
        hidden.push_str(name.as_str());
        hidden.push_str(CLOSE);
        hidden.push_str(rest);
    }
    if hidden.contains(['$', '{', '}']) { Err(wrong()) } else { Ok(hidden) }
}

impl TryFrom<String> for NodeUrl {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl From<NodeUrl> for String {
    fn from(url: NodeUrl) -> String {
        url.to_string()
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "{}://{}{path}", self.scheme.as_str(), self.authority())
    }
}
