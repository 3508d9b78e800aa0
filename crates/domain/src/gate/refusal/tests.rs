use serde_json::{Value, json};

use super::*;
use crate::gate::request::{Ids, Limits, MOST_MEMBERS, ids};

fn answered(refusal: &Refusal, body: &str) -> Value {
    let answer = refusal.answer(&ids(body.as_bytes(), &Limits::default()));
    assert_eq!(answer.status, refusal.status());
    serde_json::from_slice(&answer.body.unwrap()).unwrap()
}

/// The table of the contract with clients: product code, HTTP status, JSON-RPC code, `Retry-After`.
const CONTRACT: [(&str, u16, i32, Option<&str>); 15] = [
    ("INVALID_API_KEY", 401, -32051, None),
    ("KEY_INACTIVE", 401, -32053, None),
    ("NETWORK_NOT_ALLOWED", 403, -32002, None),
    ("DOMAIN_NOT_ALLOWED", 403, -32002, None),
    ("IP_NOT_ALLOWED", 403, -32002, None),
    ("METHOD_NOT_ALLOWED", 403, -32601, None),
    ("INSUFFICIENT_CREDITS", 402, -32052, None),
    ("RATE_LIMIT_EXCEEDED", 429, -32005, Some("02")),
    ("REQUEST_TOO_LARGE", 413, -32600, None),
    ("BATCH_TOO_LARGE", 413, -32600, None),
    ("PARSE_ERROR", 400, -32700, None),
    ("INVALID_REQUEST", 400, -32600, None),
    ("UPSTREAM_UNAVAILABLE", 503, -32603, Some("1")),
    ("UPSTREAM_TIMEOUT", 504, -32054, None),
    ("GATE_UNAVAILABLE", 503, -32603, Some("1")),
];

#[test]
fn numbers_are_those_of_the_contract() {
    let samples = Refusal::samples();
    for row in CONTRACT {
        let mut of_code = samples.iter().filter(|refusal| refusal.code() == row.0).peekable();
        assert!(of_code.peek().is_some(), "no sample of {}", row.0);
        for refusal in of_code {
            let retry_after = refusal.retry_after();
            assert_eq!((refusal.code(), refusal.status(), refusal.rpc_code(), retry_after.as_deref()), row);
        }
    }
    assert!(samples.iter().all(|refusal| CONTRACT.iter().any(|row| row.0 == refusal.code())));
}

#[test]
fn every_variant_has_a_sample() {
    // The library lists all of them when it is given another.
    let list = serde_json::from_str::<Refusal>(r#"{"code":"?"}"#).unwrap_err().to_string();
    let mut all: Vec<_> = list.split('`').skip(3).step_by(2).collect();
    let samples = Refusal::samples();
    let mut sampled: Vec<_> = samples.iter().map(Refusal::code).collect();
    sampled.dedup();
    all.sort_unstable();
    sampled.sort_unstable();
    assert_eq!(sampled, all);
}

#[test]
fn the_error_carries_the_refusal() {
    let body = r#"{"jsonrpc":"2.0","id":"0x1","method":"eth_call"}"#;
    for refusal in Refusal::samples() {
        let answer = answered(&refusal, body);
        assert_eq!(answer["jsonrpc"], "2.0");
        assert_eq!(answer["id"], "0x1");
        assert_eq!(answer["error"]["code"], refusal.rpc_code());
        assert_eq!(answer["error"]["message"], refusal.message());
        assert_eq!(answer["error"]["data"]["code"], refusal.code());
        assert_eq!(serde_json::from_value::<Refusal>(answer["error"]["data"].clone()).unwrap(), refusal);
    }
}

#[test]
fn a_rate_limit_says_when_to_try_again() {
    for (wanted, seconds) in [(0, 1), (1, 1), (2, 2), (5, 5), (8, 5), (u64::MAX, 5)] {
        let rate = Rate { backoff_seconds: Backoff::from(wanted), current_rps: 37, allowed_rps: 10 };
        let refusal = Refusal::RateLimited { rate };
        assert_eq!(refusal.retry_after(), Some(format!("0{seconds}")));
        let error = &answered(&refusal, r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#)["error"];
        let data = json!({
            "code": "RATE_LIMIT_EXCEEDED",
            "rate": {"backoff_seconds": seconds, "current_rps": 37, "allowed_rps": 10},
        });
        let message = format!("rate limit exceeded, try again in {seconds}s");
        assert_eq!(*error, json!({"code": -32005, "message": message, "data": data}));
    }
    let text = r#"{"code":"RATE_LIMIT_EXCEEDED","rate":{"backoff_seconds":99,"current_rps":1,"allowed_rps":1}}"#;
    assert_eq!(Refusal::from_header(text).unwrap().retry_after().as_deref(), Some("05"));
}

#[test]
fn only_a_rate_limit_sounds_like_one() {
    // What alloy looks for in messages when it decides whether to try again.
    let alarming =
        ["rate limit", "request limit", "credits limited", "too many requests", "rate exceeded", "header not found"];
    for refusal in Refusal::samples() {
        let message = refusal.message().to_lowercase();
        let sounds = alarming.iter().any(|words| message.contains(words));
        assert_eq!(sounds, matches!(refusal, Refusal::RateLimited { .. }), "{message}");
    }
}

#[test]
fn a_batch_is_answered_with_an_array() {
    let body = r#"[{"jsonrpc":"2.0","id":2,"method":"a"},{"jsonrpc":"2.0","method":"b"},
                   {"jsonrpc":"2.0","id":"x","method":"c"},{"jsonrpc":"2.0","id":null,"method":"d"}]"#;
    for refusal in Refusal::samples().into_iter().filter(|refusal| !matches!(refusal, Refusal::Invalid(_))) {
        let answer = answered(&refusal, body);
        let ids: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, [json!(2), json!("x"), json!(null)]);
        let messages =
            answer.as_array().unwrap().iter().map(|one| one["error"]["message"].as_str().unwrap().to_owned());
        assert!(messages.into_iter().all(|message| message == refusal.message()));
    }
}

#[test]
fn notifications_get_no_answer() {
    let quiet = r#"{"jsonrpc":"2.0","method":"b"}"#;
    for body in [quiet.to_owned(), format!("[{quiet},{quiet}]")] {
        for refusal in Refusal::samples() {
            let answer = refusal.answer(&ids(body.as_bytes(), &Limits::default()));
            assert_eq!(answer, Answer { status: 204, body: None });
        }
    }
}

fn malformed(body: &str) -> (Refusal, Value) {
    let refusal = Refusal::from(crate::gate::request::read(body.as_bytes(), &Limits::default()).unwrap_err());
    let answer = answered(&refusal, body);
    (refusal, answer)
}

#[test]
fn an_invalid_batch_tells_each_member_its_part() {
    let (refusal, answer) = malformed(
        r#"[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","id":8},{"jsonrpc":"2.0","method":"b"},5]"#,
    );
    assert_eq!(refusal.status(), 400);
    let said: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert_eq!(
                (&one["error"]["code"], &one["error"]["data"]["code"]),
                (&json!(-32600), &json!("INVALID_REQUEST"))
            );
            format!("{} {}", one["id"], one["error"]["message"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            "7 another member of the batch is invalid: batch[1]: method is missing",
            "null invalid request: batch[1]: method is missing",
            "null invalid request: batch[3]: a request object is expected",
        ]
    );
}

#[test]
fn what_cannot_be_told_apart_gets_one_object() {
    for (body, code) in
        [("", -32700), ("{", -32700), ("[{]", -32700), ("[]", -32600), ("7", -32600), (r#"{"id":1}"#, -32600)]
    {
        let (_, answer) = malformed(body);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(code)), "{body}");
    }
    let too_many = format!("[{}5]", "1,".repeat(MOST_MEMBERS));
    let (refusal, answer) = malformed(&too_many);
    assert_eq!(refusal, Refusal::BatchTooLarge { most: 100 });
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32600)));
}

#[test]
fn a_batch_that_is_too_large_still_gets_its_ids() {
    let members: Vec<_> = (0..101).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "m"})).collect();
    let (refusal, answer) = malformed(&Value::from(members).to_string());
    assert_eq!(refusal.status(), 413);
    let ids: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["id"].as_u64()).collect();
    assert_eq!(ids, (0..101).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_refusal_travels_in_a_header() {
    for refusal in Refusal::samples() {
        assert_eq!(Refusal::from_header(&refusal.to_header()), Ok(refusal));
    }
    for hostile in ["é", "😀", "a\r\nX-Gate-Project: 1", "\0\u{7f}\u{85}\u{2028}", "\"\\", "\u{fffd}", ""] {
        let refusal = Refusal::DomainNotAllowed { origin: Some(hostile.into()) };
        let header = refusal.to_header();
        assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header:?}");
        assert_eq!(Refusal::from_header(&header), Ok(refusal));
    }
    assert_eq!(
        Refusal::from(Malformed::from(Invalid { member: Some(3), fault: Fault::TooDeep(32) })).to_header(),
        r#"{"code":"INVALID_REQUEST","member":3,"fault":{"too_deep":32}}"#
    );
}

#[test]
fn a_header_stays_small() {
    let long = "😀".repeat(100_000);
    let refusal = Refusal::DomainNotAllowed { origin: Some(long.as_str().into()) };
    let header = refusal.to_header();
    assert!(header.len() < 2_048, "{}", header.len());
    assert_eq!(Refusal::from_header(&header), Ok(refusal), "cut once, it stays as it is");
}

#[test]
fn nginx_says_what_it_found_in_words() {
    for (word, refusal) in [
        ("upstream-unavailable", Refusal::UpstreamUnavailable),
        ("upstream-timeout", Refusal::UpstreamTimeout),
        ("gate-unavailable", Refusal::GateUnavailable),
    ] {
        assert_eq!(Refusal::from_header(word), Ok(refusal));
    }
    for bad in ["", "upstream", "{}", r#"{"code":"NEVER"}"#, r#"{"code":"METHOD_NOT_ALLOWED"}"#, "null", "[]"] {
        assert!(Refusal::from_header(bad).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_echoed_as_written() {
    for id in ["1e400", "9007199254740993", r#""a\u0041""#, "null", "-0"] {
        let answer = Refusal::GateUnavailable.answer(&Ids::One(Some(id)));
        let text = String::from_utf8(answer.body.unwrap()).unwrap();
        assert!(
            text.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":""#)),
            "{text}"
        );
    }
}
