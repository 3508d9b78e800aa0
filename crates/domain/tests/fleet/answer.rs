//! Reads a node's answer a second time, into a tree, and compares what the probe makes of it. The fuzz target `answer`
//! and the tests beside this file call it.

use nodeweir_domain::fleet::node::SecretName;
use nodeweir_domain::fleet::probe::{Failure, read_quantity, read_status};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::tree::Tree;

/// What the address held that is asked here; the second begins with the first.
pub(crate) const SECRETS: [(&str, &str); 2] = [("KEY", "s3cret"), ("LONG_KEY", "s3cret-and-more")];

/// Panics if the two readings differ, or if a failure's words hold what they must not. The status stands in the first
/// line, the body after it.
pub(crate) fn check(answer: &[u8]) {
    let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or(answer.len());
    let status = std::str::from_utf8(&answer[..end]).ok().and_then(|line| line.parse().ok()).unwrap_or(200);
    let body = answer.get(end + 1..).unwrap_or_default();
    match read_status(status) {
        Ok(()) => assert_eq!(status, 200),
        Err(failure) => {
            let is_redirect = (300..400).contains(&status);
            assert_eq!(failure, if is_redirect { Failure::Redirect(status) } else { Failure::Status(status) });
        }
    }
    let secrets = SECRETS.map(|(name, value)| (name.parse::<SecretName>().unwrap(), value.to_owned()));
    for id in [1, 2] {
        let found = read_quantity(body, id, &secrets);
        if let Err(failure) = &found {
            check_words(failure);
        }
        if std::str::from_utf8(body).is_err() || serde_json::from_slice::<IgnoredAny>(body).is_err() {
            assert_eq!(found, Err(Failure::NotJson));
        } else if let Ok(tree) = serde_json::from_slice::<Tree>(body) {
            // The tree has no place for 1e400 and for half of a surrogate pair, which are JSON.
            assert_eq!(found.as_ref().map_err(kind).copied(), expected(&tree, id), "{found:?}");
        }
    }
}

/// Why there is no quantity.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A JSON-RPC error, and its code.
    Rpc(i64),
    /// What the failure's words begin with.
    Malformed(&'static str),
}

const MALFORMED: [&str; 6] = [
    "answer is not a JSON-RPC object",
    "answer bears another id than the question",
    "answer has no result",
    "result is not a text",
    "is not a hex quantity",
    "is too large",
];

fn kind(failure: &Failure) -> Kind {
    match failure {
        Failure::RpcError { code, .. } => Kind::Rpc(*code),
        // The two that quote the result say last what is wrong with it.
        Failure::Malformed(why) => {
            Kind::Malformed(MALFORMED.into_iter().find(|words| why.starts_with(words) || why.ends_with(words)).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// Of a key that stands there twice, the last one counts.
fn field<'a>(pairs: &'a [(String, Tree)], name: &str) -> Option<&'a Tree> {
    pairs
        .iter()
        .rev()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
        .filter(|value| !matches!(value, Tree::Scalar(Value::Null)))
}

fn expected(tree: &Tree, id: u64) -> Result<u64, Kind> {
    let malformed = |at: usize| Err(Kind::Malformed(MALFORMED[at]));
    let Tree::Object(answer) = tree else { return malformed(0) };
    match field(answer, "error") {
        None => {}
        Some(Tree::Object(error)) => {
            let code = match field(error, "code") {
                Some(Tree::Scalar(code)) => code.as_i64().unwrap_or(0),
                _ => 0,
            };
            return Err(Kind::Rpc(code));
        }
        Some(_) => return Err(Kind::Rpc(0)),
    }
    match field(answer, "id") {
        Some(Tree::Scalar(found)) if found.as_u64() == Some(id) => {}
        _ => return malformed(1),
    }
    let result = match field(answer, "result") {
        None => return malformed(2),
        Some(Tree::Scalar(Value::String(text))) => text,
        Some(_) => return malformed(3),
    };
    let Some(digits) = result.strip_prefix("0x") else { return malformed(4) };
    if digits.is_empty() || digits.len() > 64 {
        return malformed(4);
    }
    let mut quantity: Option<u64> = Some(0);
    for digit in digits.chars() {
        let Some(digit) = digit.to_digit(16) else { return malformed(4) };
        quantity = quantity.and_then(|quantity| quantity.checked_mul(16)?.checked_add(digit.into()));
    }
    match quantity.filter(|quantity| *quantity < 1 << 63) {
        Some(quantity) => Ok(quantity),
        None => malformed(5),
    }
}

/// A failure goes into the store, the log, metrics and a terminal.
fn check_words(failure: &Failure) {
    let words = failure.to_string();
    assert!(!words.contains(char::is_control), "{words:?}");
    assert!(words.len() < 1000, "{words}");
    for (_, value) in SECRETS {
        assert!(!words.contains(value), "{words} holds a secret");
    }
    let json = serde_json::to_string(failure).unwrap();
    assert_eq!(serde_json::from_str::<Failure>(&json).as_ref().ok(), Some(failure), "{json}");
}
