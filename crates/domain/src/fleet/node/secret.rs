//! Secrets inside a URL, by reference.
//!
//! Tables, published files, logs and metrics hold `${NAME}`. The value is put in where the URL is used, only for
//! names the configuration lists, and only towards the hosts listed with the name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Host, NodeUrl};

/// The name of a secret, as an environment variable is named: `INFURA_KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{:?} cannot name a secret: use A-Z, 0-9 and _, as in INFURA_KEY", crate::name::shown(text)))
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where one secret may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRule {
    /// Exact host names, or `*.` and a suffix for any name below it.
    pub hosts: Vec<String>,
}

impl SecretRule {
    fn allows(&self, host: &Host) -> bool {
        let host = host.to_string();
        self.hosts.iter().any(|rule| match rule.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
            None => *rule == host,
        })
    }
}

/// Why a secret is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The configuration does not list the name.
    #[error("secret {0} is not listed under `secrets:` in the configuration")]
    Unlisted(SecretName),
    /// It is listed, but not for this host.
    #[error("secret {name} may not be sent to {host}: add that host to secrets.{name}.hosts if it should be")]
    Host {
        /// The secret.
        name: SecretName,
        /// Where it would have gone.
        host: String,
    },
    /// The connection would show it to anyone on the way.
    #[error("secret {0} would travel unencrypted: use https://, wss:// or rediss://")]
    Unencrypted(SecretName),
    /// No value was given to this process.
    #[error("secret {0} has no value: set the environment variable {0}")]
    Missing(SecretName),
    /// The value holds something that does not belong into a path.
    #[error("the value of secret {0} is not usable: 1 to 256 of letters, digits and . _ ~ - are expected")]
    Value(SecretName),
}

/// All secrets of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretRules(pub BTreeMap<SecretName, SecretRule>);

impl SecretRules {
    /// Whether every reference in `url` is listed, for this host, and protected on its way.
    pub fn check(&self, url: &NodeUrl) -> Result<(), BadSecret> {
        url.secrets().try_for_each(|name| self.allow(&name, url.host(), url.scheme().is_tls()))
    }

    /// Whether the secret is listed, for this host, and protected on its way.
    pub fn allow(&self, name: &SecretName, host: &Host, is_tls: bool) -> Result<(), BadSecret> {
        let Some(rule) = self.0.get(name) else { return Err(BadSecret::Unlisted(name.clone())) };
        if !rule.allows(host) {
            return Err(BadSecret::Host { name: name.clone(), host: host.to_string() });
        }
        if !is_tls && !host.is_loopback() {
            return Err(BadSecret::Unencrypted(name.clone()));
        }
        Ok(())
    }
}

/// Puts values in the place of references in `text`, which may be a URL or a whole rendered file. `value` is asked
/// once per reference; text that is no reference stays as it is (nginx writes `${variable}` in lower case).
pub fn resolve(text: &str, value: impl Fn(&SecretName) -> Option<String>) -> Result<String, BadSecret> {
    let mut pieces = text.split("${");
    let mut resolved = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let reference = piece.split_once('}').and_then(|(name, rest)| Some((name.parse::<SecretName>().ok()?, rest)));
        if let Some((name, rest)) = reference {
            let found = value(&name).ok_or_else(|| BadSecret::Missing(name.clone()))?;
            let safe = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
            if !(1..=256).contains(&found.len()) || !found.bytes().all(safe) || found.contains("..") {
                return Err(BadSecret::Value(name));
            }
            resolved.push_str(&found);
            resolved.push_str(rest);
        } else {
            resolved.push_str("${");
            resolved.push_str(piece);
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> SecretRules {
        let rule = SecretRule { hosts: vec!["*.infura.io".to_owned(), "127.0.0.1".to_owned()] };
        SecretRules(BTreeMap::from([("KEY".parse().unwrap(), rule)]))
    }

    #[test]
    fn a_secret_goes_only_where_it_is_listed() {
        let check = |url: &str| rules().check(&url.parse().unwrap());
        assert_eq!(check("https://mainnet.infura.io/v3/${KEY}"), Ok(()));
        assert_eq!(check("http://127.0.0.1:1/${KEY}"), Ok(()), "loopback needs no TLS");
        assert!(matches!(check("https://infura.io.evil.example/${KEY}"), Err(BadSecret::Host { .. })));
        assert!(matches!(check("https://evilinfura.io/${KEY}"), Err(BadSecret::Host { .. })));
        assert!(matches!(check("https://mainnet.infura.io/${OTHER}"), Err(BadSecret::Unlisted(_))));
        assert!(matches!(check("http://mainnet.infura.io/${KEY}"), Err(BadSecret::Unencrypted(_))));
    }

    #[test]
    fn values_are_checked_before_they_are_used() {
        let with = |value: &str| resolve("a ${KEY} b", |_| Some(value.to_owned()));
        assert_eq!(with("s3cret"), Ok("a s3cret b".to_owned()));
        for bad in ["", "a b", "a;", "a/b", "a\n", "${X}", "..", &"x".repeat(257)] {
            assert!(matches!(with(bad), Err(BadSecret::Value(_))), "{bad:?}");
        }
        assert_eq!(resolve("${KEY}", |_| None), Err(BadSecret::Missing("KEY".parse().unwrap())));
        assert_eq!(resolve("${lower} $x {", |_| None), Ok("${lower} $x {".to_owned()));
    }
}
