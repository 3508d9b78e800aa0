//! Reads a body a second time, slowly and into a tree, and compares what the gate makes of it. The fuzz target
//! `request` and the tests beside this file call it.

use std::borrow::Cow;

use nodeweir_domain::gate::refusal::Refusal;
use nodeweir_domain::gate::request::{Call, Ids, Limits, MOST_MEMBERS, Malformed, ids, read};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::tree::Tree;

/// Panics if the gate and the second reading differ, or if an answer is not what was asked for.
pub(crate) fn check(body: &[u8]) {
    for limits in [Limits::default(), Limits { batch: 2, depth: 4 }] {
        let (call, ids) = (read(body, &limits), ids(body, &limits));
        answers(call.as_ref().err(), &ids);
        is_consistent(&call, &ids);
        let text = std::str::from_utf8(body).ok();
        if text.is_none_or(|text| serde_json::from_str::<IgnoredAny>(text).is_err()) {
            // A batch that is too large is not read to its end.
            let is_left = matches!(call, Err(Malformed::BatchTooLarge { .. }));
            assert!(is_left || matches!(call, Err(Malformed::Parse { .. })), "{call:?}");
        } else if let Some(Ok(tree)) = text.map(serde_json::from_str::<Tree>) {
            // The tree has no place for 1e400 and for half of a surrogate pair, which are JSON.
            let expected = expect(&tree, &limits);
            let found = call.as_ref().map(plain).map_err(kind);
            assert_eq!(found, expected);
        }
    }
}

/// Id and method of each member, and whether it is a batch.
type Plain = (bool, Vec<(Option<Value>, String)>);

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Parse,
    Invalid,
    TooLarge,
}

fn plain(call: &Call<'_>) -> Plain {
    let member = |(id, method): (Option<&str>, &Cow<'_, str>)| {
        (id.map(|id| serde_json::from_str(id).unwrap()), method.clone().into_owned())
    };
    let members = call.members().iter().map(|one| member((one.id, &one.method))).collect();
    (matches!(call, Call::Batch(_)), members)
}

fn kind(malformed: &Malformed) -> Kind {
    match malformed {
        Malformed::Parse { .. } => Kind::Parse,
        Malformed::Invalid(_) => Kind::Invalid,
        Malformed::BatchTooLarge { .. } => Kind::TooLarge,
    }
}

fn expect(tree: &Tree, limits: &Limits) -> Result<Plain, Kind> {
    let (is_batch, members) = match tree {
        Tree::List(members) => (true, members.iter().collect()),
        other => (false, vec![other]),
    };
    if is_batch && members.len() > limits.batch {
        return Err(Kind::TooLarge);
    }
    if members.is_empty() || tree.depth() > limits.depth {
        return Err(Kind::Invalid);
    }
    let members: Option<_> = members.into_iter().map(expect_member).collect();
    members.map(|members| (is_batch, members)).ok_or(Kind::Invalid)
}

fn expect_member(tree: &Tree) -> Option<(Option<Value>, String)> {
    let Tree::Object(pairs) = tree else { return None };
    for name in ["jsonrpc", "id", "method", "params"] {
        let meant = |key: &String| {
            let key = key.replace('\u{17f}', "s").replace('\u{212a}', "k").replace(['\u{130}', '\u{131}'], "i");
            key.to_ascii_lowercase() == name
        };
        let keys: Vec<_> = pairs.iter().map(|(key, _)| key).filter(|key| meant(key)).collect();
        if keys.len() > 1 || keys.iter().any(|key| *key != name) {
            return None;
        }
    }
    let field = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let Some(Tree::Scalar(Value::String(version))) = field("jsonrpc") else { return None };
    let id = match field("id") {
        None => None,
        Some(Tree::Scalar(id)) if !id.is_boolean() => Some(id.clone()),
        Some(_) => return None,
    };
    let Some(Tree::Scalar(Value::String(method))) = field("method") else { return None };
    let is_named = method.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let has_params =
        matches!(field("params"), None | Some(Tree::List(_) | Tree::Object(_) | Tree::Scalar(Value::Null)));
    let is_good = version == "2.0" && is_named && (1..=128).contains(&method.len()) && has_params;
    is_good.then(|| (id, method.clone()))
}

/// What passes has the ids that a later refusal would name.
fn is_consistent(call: &Result<Call<'_>, Malformed>, ids: &Ids<'_>) {
    let Ok(call) = call else {
        let is_refused = match ids {
            Ids::Nobody => matches!(call, Err(Malformed::BatchTooLarge { .. })),
            Ids::One(id) => id.is_none(),
            Ids::Many(_) => !matches!(call, Err(Malformed::Parse { .. })),
        };
        assert!(is_refused, "{call:?} {ids:?}");
        return;
    };
    let sent: Vec<_> = call.members().iter().filter_map(|member| member.id).collect();
    assert_eq!(call.is_quiet(), sent.is_empty());
    match (ids, call) {
        (Ids::Nobody, _) => assert!(call.is_quiet()),
        (Ids::One(id), Call::Single(_)) => assert_eq!(*id, Some(sent[0])),
        (Ids::Many(ids), Call::Batch(_)) => assert_eq!(*ids, sent.into_iter().map(Ok).collect::<Vec<_>>()),
        other => panic!("{other:?}"),
    }
}

/// One element of an answer, its id as it is written.
#[derive(Deserialize)]
struct Said<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: &'a RawValue,
    error: Value,
}

/// The answer is JSON with the ids in order: of the body's own refusal, or else of one that any body can meet.
fn answers(malformed: Option<&Malformed>, ids: &Ids<'_>) {
    let refusal = malformed.cloned().map_or(Refusal::GateUnavailable, Refusal::from);
    assert_eq!(Refusal::from_header(&refusal.to_header()).as_ref(), Ok(&refusal));
    let answer = refusal.answer(ids);
    let body = answer.body.as_deref().map(|body| std::str::from_utf8(body).unwrap());
    let (said, asked) = match (ids, body) {
        (Ids::Nobody, None) => return assert_eq!(answer.status, 204),
        (Ids::One(id), Some(body)) => (vec![serde_json::from_str::<Said>(body).unwrap()], vec![*id]),
        (Ids::Many(ids), Some(body)) => {
            assert!((1..=MOST_MEMBERS).contains(&ids.len()));
            (serde_json::from_str(body).unwrap(), ids.iter().map(|id| id.ok()).collect())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(answer.status, refusal.status());
    let echoed: Vec<_> = said.iter().map(|one| one.id.get()).collect();
    assert_eq!(echoed, asked.into_iter().map(|id| id.unwrap_or("null")).collect::<Vec<_>>());
    assert!(said.iter().all(|one| one.jsonrpc == "2.0" && one.error["code"] == refusal.rpc_code()));
}
