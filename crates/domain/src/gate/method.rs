//! Which JSON-RPC methods may be called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether it is a method that nobody may call, whatever the key: it speaks to a node's operator, to keys that a node
/// holds, or to state that only one node has (filters), so that the next call would meet another node that knows nothing
/// of it. This is asked for each member of each batch, so that it looks at the name's start first.
fn is_never_allowed(method: &str) -> bool {
    let Some((space, name)) = method.split_once('_') else { return false };
    match space {
        "admin" | "personal" | "miner" | "engine" | "clique" | "db" | "shh" => true,
        "eth" => {
            name.starts_with("sign")
                || matches!(
                    name,
                    "sendTransaction"
                        | "accounts"
                        | "newFilter"
                        | "newBlockFilter"
                        | "newPendingTransactionFilter"
                        | "getFilterChanges"
                        | "getFilterLogs"
                        | "uninstallFilter"
                )
        }
        _ => false,
    }
}

/// Methods that a tier, project or key must be given: one call can keep a node busy for minutes.
const GRANTED: [&str; 2] = ["debug_*", "trace_*"];

/// A method's name, or the start of one and `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodPattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a method: write one as eth_call, or the start of several as debug_*")]
pub struct BadPattern(String);

impl MethodPattern {
    /// Whether the pattern means this method.
    pub fn matches(&self, method: &str) -> bool {
        matches(&self.0, method)
    }

    /// Whether it means only methods that can be given, so that giving it has an effect.
    pub fn can_be_granted(&self) -> bool {
        GRANTED.iter().any(|granted| matches(granted, self.0.trim_end_matches('*')))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn matches(pattern: &str, method: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == method, |start| method.starts_with(start))
}

/// Whether `method` may be called by who was given `grants`.
pub fn is_allowed<'a>(method: &str, grants: impl IntoIterator<Item = &'a MethodPattern>) -> bool {
    if is_never_allowed(method) {
        return false;
    }
    !GRANTED.iter().any(|granted| matches(granted, method)) || grants.into_iter().any(|grant| grant.matches(method))
}

impl FromStr for MethodPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_plain && !name.is_empty() && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadPattern(crate::name::shown(text)))
        }
    }
}

impl TryFrom<String> for MethodPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<MethodPattern> for String {
    fn from(pattern: MethodPattern) -> String {
        pattern.0
    }
}

impl fmt::Display for MethodPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> MethodPattern {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_node_s_operator_does_is_never_allowed() {
        let all = [pattern("debug_*"), pattern("trace_*"), pattern("admin_*"), pattern("eth_accounts")];
        for method in [
            "admin_peers",
            "personal_unlockAccount",
            "eth_sendTransaction",
            "eth_sign",
            "eth_signTypedData_v4",
            "eth_accounts",
            "eth_newFilter",
            "eth_getFilterLogs",
            "engine_newPayloadV4",
        ] {
            assert!(!is_allowed(method, &all), "{method}");
        }
        for method in ["eth_call", "eth_sendRawTransaction", "eth_getLogs", "net_version", "web3_sha3", "bor_getAuthor"]
        {
            assert!(is_allowed(method, &[]), "{method}");
        }
    }

    #[test]
    fn costly_methods_must_be_given() {
        assert!(!is_allowed("debug_traceTransaction", &[]));
        assert!(!is_allowed("debug_traceTransaction", &[pattern("trace_*")]));
        assert!(is_allowed("debug_traceTransaction", &[pattern("debug_*")]));
        assert!(is_allowed("trace_block", &[pattern("trace_block")]));
        assert!(!is_allowed("trace_filter", &[pattern("trace_block")]));
        assert!(pattern("debug_trace*").can_be_granted() && pattern("trace_*").can_be_granted());
        assert!(!pattern("eth_call").can_be_granted() && !pattern("d*").can_be_granted());
    }

    #[test]
    fn a_pattern_is_a_name_or_a_start() {
        for bad in ["", "*", "eth_*_x", "eth call", "é", "a\"", &"a".repeat(65)] {
            assert!(bad.parse::<MethodPattern>().is_err(), "{bad}");
        }
        assert!(pattern("eth_get*").matches("eth_getLogs") && !pattern("eth_get").matches("eth_getLogs"));
    }
}
