//! What one probe saw, and how a node's answer is read.
//!
//! Asking is an effect and happens in the control crate; reading the answer is decided here, so that hostile bytes
//! meet one strict reader.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fleet::judge::{Reason, State, Status};
use crate::fleet::node::{Address, Node, Role, SecretName};
use crate::name::shown;

/// How often the leader is asked for its chain id. Own nodes are asked at each tick; the leader's answers may cost
/// money and its chain does not change.
const LEADER_CHAIN_EVERY: Duration = Duration::from_secs(3600);

/// What one probe of one node saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Where the node was asked; an answer from another address says nothing about this one.
    pub address: Address,
    /// From the first byte sent to the last one needed.
    pub latency: Duration,
    /// The answer, or why there is none.
    pub outcome: Result<Answer, Failure>,
}

/// A node's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// `eth_blockNumber`.
    pub head: u64,
    /// `eth_chainId`, where it was asked for.
    pub chain_id: Option<u64>,
}

/// Why a node did not answer. Each has its own words, because on-call reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No complete answer in time.
    Timeout,
    /// No complete answer, but the prober itself was kept from working meanwhile or could open no more connections, so
    /// that this says nothing about the node.
    Starved,
    /// Nobody listens there.
    Refused,
    /// The name does not resolve.
    Dns,
    /// The name resolves to an address that nodes may not have.
    ForbiddenAddress(IpAddr),
    /// The certificate or the handshake is not right.
    Tls(String),
    /// The connection failed in another way.
    Connection(String),
    /// It answered with a redirect, which is not followed: it could lead anywhere.
    Redirect(u16),
    /// Another HTTP status than 200.
    Status(u16),
    /// The answer is longer than any answer to these questions.
    TooLarge,
    /// The answer is not JSON.
    NotJson,
    /// The answer is JSON but not an answer to the question.
    Malformed(String),
    /// The node answered with a JSON-RPC error.
    RpcError {
        /// Its code.
        code: i64,
        /// Its message, shortened.
        message: String,
    },
    /// The URL needs a secret that cannot be used.
    Secret(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Starved => f.write_str("the prober was too busy to tell"),
            Self::Refused => f.write_str("connection refused"),
            Self::Dns => f.write_str("name does not resolve"),
            Self::ForbiddenAddress(ip) => write!(f, "name resolves to the link-local address {ip}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Connection(why) => write!(f, "connection failed: {why}"),
            Self::Redirect(status) => write!(f, "HTTP {status} redirects elsewhere, which is not followed"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::TooLarge => f.write_str("answer is larger than 64 KiB"),
            Self::NotJson => f.write_str("answer is not JSON"),
            Self::RpcError { code, message } => write!(f, "JSON-RPC error {code}: {message}"),
            Self::Malformed(why) | Self::Secret(why) => f.write_str(why),
        }
    }
}

/// Bytes of an answer that are read at most.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Whether an answer with this HTTP status is read at all.
pub fn read_status(status: u16) -> Result<(), Failure> {
    match status {
        200 => Ok(()),
        300..=399 => Err(Failure::Redirect(status)),
        _ => Err(Failure::Status(status)),
    }
}

/// Reads the answer to a question that asks for a quantity (`eth_blockNumber`, `eth_chainId`).
///
/// `id` is what the question bore. Quantities are `0x` and hex digits below 2^63, by the execution API's notation:
/// <https://ethereum.github.io/execution-apis/>; leading zeros are let pass, as all clients do.
///
/// `secrets` were in the address that was asked. Where a failure quotes the answer, their names stand instead: a node that
/// repeats its address must not put a secret into the store, the log and the metrics.
pub fn read_quantity(body: &[u8], id: u64, secrets: &[(SecretName, String)]) -> Result<u64, Failure> {
    let malformed = |why: &str| Err(Failure::Malformed(why.to_owned()));
    let body = std::str::from_utf8(body).map_err(|_| Failure::NotJson)?;
    let answer: Object = match serde_json::from_str(body) {
        Ok(answer) => answer,
        Err(_) if serde_json::from_str::<IgnoredAny>(body).is_err() => return Err(Failure::NotJson),
        Err(_) => return malformed("answer is not a JSON-RPC object"),
    };
    let field = |name: &str| answer.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
    if let Some(error) = field("error") {
        let error: Object = serde_json::from_str(error).unwrap_or_default();
        let code = error.get("code").and_then(|code| code.get().parse().ok()).unwrap_or_default();
        let message: Option<String> = error.get("message").and_then(|text| serde_json::from_str(text.get()).ok());
        let message = shown(&redacted(message.as_deref().unwrap_or("without a message"), secrets));
        return Err(Failure::RpcError { code, message: message.escape_debug().to_string() });
    }
    if field("id").and_then(|raw| serde_json::from_str::<u64>(raw).ok()) != Some(id) {
        return malformed("answer bears another id than the question");
    }
    let Some(result) = field("result") else { return malformed("answer has no result") };
    let Ok(result) = serde_json::from_str::<String>(result) else {
        return malformed("result is not a text such as 0x1b4");
    };
    let digits = result
        .strip_prefix("0x")
        .filter(|digits| (1..=64).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let given = || shown(&redacted(&result, secrets));
    match digits.map(|digits| i64::from_str_radix(digits, 16).map(i64::cast_unsigned)) {
        Some(Ok(quantity)) => Ok(quantity),
        Some(Err(_)) => malformed(&format!("result {} is too large", given())),
        None => malformed(&format!("result {:?} is not a hex quantity", given())),
    }
}

/// An object's values as they stand there. Read so, and not as [`serde_json::Value`], because that takes an object with
/// one certain key for the JSON in its text.
type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// `text` with the names of secrets in the place of their values. Where one value begins with another, the longer one
/// counts, of which the shorter would leave a part.
fn redacted(text: &str, secrets: &[(SecretName, String)]) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let here = secrets.iter().filter(|(_, value)| !value.is_empty() && rest.starts_with(value));
        if let Some((name, value)) = here.max_by_key(|(_, value)| value.len()) {
            redacted.extend(["${", name.as_str(), "}"]);
            rest = &rest[value.len()..];
        } else {
            redacted.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    redacted
}

/// Whether this probe of `node` asks for the chain id too: always for own nodes, for the leader when it is new,
/// moved, not healthy, or was last asked an hour ago.
pub fn asks_chain(node: &Node, status: Option<&Status>, chain_checked: Option<Timestamp>, now: Timestamp) -> bool {
    let known_good = status.is_some_and(|status| {
        status.address == node.address
            && status.state == State::Healthy
            && !matches!(status.reason, Some(Reason::WrongChain { .. }))
    });
    let recent = chain_checked.is_some_and(|then| crate::text::since(then, now) < LEADER_CHAIN_EVERY && then <= now);
    node.role == Role::Node || !known_good || !recent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<u64, Failure> {
        read_quantity(body.as_bytes(), 7, &[])
    }

    /// An escape once hid a secret from what looked for it, and so did the rest of a longer one behind a shorter.
    #[test]
    fn a_failure_quotes_no_secret_however_it_is_spelled() {
        let secrets = [("KEY", "s3cret"), ("LONG", "s3cret-and-more")]
            .map(|(name, value)| (name.parse().unwrap(), value.to_owned()));
        for (body, words) in [
            (r#"{"error":{"message":"no s3cret"}}"#, "JSON-RPC error 0: no ${KEY}"),
            (r#"{"error":{"message":"no \u00733cret"}}"#, "JSON-RPC error 0: no ${KEY}"),
            (r#"{"error":{"message":"s3cret-and-more"}}"#, "JSON-RPC error 0: ${LONG}"),
            (r#"{"id":7,"result":"/v3/s3cret"}"#, "result \"/v3/${KEY}\" is not a hex quantity"),
        ] {
            assert_eq!(read_quantity(body.as_bytes(), 7, &secrets).unwrap_err().to_string(), words);
        }
        let cut = format!(r#"{{"error":{{"message":"{}s3cret"}}}}"#, "x".repeat(57));
        assert!(!read_quantity(cut.as_bytes(), 7, &secrets).unwrap_err().to_string().contains("s3"));
    }

    /// The library's own name for a piece of JSON once made a text the answer that it held.
    #[test]
    fn an_answer_within_a_text_is_none() {
        let inside = r#"{"$serde_json::private::RawValue":"{\"id\":7,\"result\":\"0x1\"}"}"#;
        assert_eq!(read(inside).unwrap_err().to_string(), "answer bears another id than the question");
    }

    #[test]
    fn a_good_answer_is_a_number() {
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":7,"result":"0x1b4"}"#), Ok(436));
        assert_eq!(read(r#"{"id":7,"result":"0x0","error":null}"#), Ok(0));
        assert_eq!(read(r#"{"id":7,"result":"0x7fffffffffffffff"}"#), Ok(i64::MAX.cast_unsigned()));
    }

    #[test]
    fn every_hostile_answer_is_a_stated_failure() {
        for (body, words) in [
            ("", "answer is not JSON"),
            ("<html>", "answer is not JSON"),
            ("[]", "answer is not a JSON-RPC object"),
            (r#"{"id":7}"#, "answer has no result"),
            (r#"{"id":7,"result":null}"#, "answer has no result"),
            (r#"{"id":7,"result":12}"#, "result is not a text such as 0x1b4"),
            (r#"{"id":7,"result":"0x-1"}"#, "result \"0x-1\" is not a hex quantity"),
            (r#"{"id":7,"result":"-0x1"}"#, "result \"-0x1\" is not a hex quantity"),
            (r#"{"id":7,"result":"0x"}"#, "result \"0x\" is not a hex quantity"),
            (r#"{"id":7,"result":"0x+1"}"#, "result \"0x+1\" is not a hex quantity"),
            (r#"{"id":7,"result":"436"}"#, "result \"436\" is not a hex quantity"),
            (r#"{"id":7,"result":"0x8000000000000000"}"#, "result 0x8000000000000000 is too large"),
            (r#"{"id":8,"result":"0x1"}"#, "answer bears another id than the question"),
            (r#"{"result":"0x1"}"#, "answer bears another id than the question"),
            (r#"{"id":7,"error":{"code":-32005,"message":"slow\ndown"}}"#, "JSON-RPC error -32005: slow\\ndown"),
            (r#"{"id":7,"error":"no"}"#, "JSON-RPC error 0: without a message"),
        ] {
            assert_eq!(read(body).unwrap_err().to_string(), words, "{body}");
        }
        assert_eq!(read(&"[".repeat(100_000)), Err(Failure::NotJson));
    }
}
