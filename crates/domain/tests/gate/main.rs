//! The gate's reading of bodies against a second one: on the bodies that are kept for the fuzzer, and on random ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../kept/mod.rs"]
mod kept;
mod key;
mod request;
#[path = "../tree/mod.rs"]
mod tree;

use kept::check_kept;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn kept_bodies_are_read_as_expected() {
    check_kept("request", 20, request::check);
}

#[test]
fn kept_keys_are_read_as_expected() {
    check_kept("key", 5, key::check);
}

const KEYS: [&str; 16] = [
    "jsonrpc",
    "id",
    "method",
    "params",
    "jsonrpc",
    "id",
    "method",
    "Method",
    "ID",
    "param\u{17f}",
    r"\u0069d",
    "\u{130}d",
    "extra",
    "",
    r"par\u0061ms",
    "ids",
];

const SCALARS: [&str; 26] = [
    r#""2.0""#,
    r#""2.0""#,
    r#""2\u002e0""#,
    "2.0",
    "1",
    "0",
    "-0",
    "9007199254740993",
    "1e400",
    "1e-7",
    "null",
    "true",
    r#""eth_call""#,
    r#""eth\u005fcall""#,
    r#""net_version""#,
    r#""a b""#,
    r#""\ud800""#,
    r#""\ud83d\ude00""#,
    r#""é""#,
    r#""""#,
    r#""]}\"{[""#,
    "01",
    "nul",
    "\"",
    "[",
    "}",
];

fn value() -> impl Strategy<Value = String> {
    let scalar = select(&SCALARS[..]).prop_map(str::to_owned);
    scalar.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            vec((select(&KEYS[..]), inner), 0..4).prop_map(|pairs| object(&pairs)),
        ]
    })
}

fn object<K: std::fmt::Display>(pairs: &[(K, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", pairs.join(" ,\n"))
}

/// A good member, now and then with something more.
fn member() -> impl Strategy<Value = String> {
    let id = select(&["", "1", "1e400", "null", r#""\u0041""#, "[]", "18446744073709551616"][..]);
    let params = select(&["", "[]", "{}", "null", r#"[{"to":"0x0","data":"0x]"},"latest"]"#, "7", "[[[[]]]]"][..]);
    let more = vec((select(&KEYS[..]), value()), 0..2);
    (id, params, more, any::<prop::sample::Index>()).prop_map(|(id, params, more, at)| {
        let mut pairs = vec![("jsonrpc", r#""2.0""#.to_owned()), ("method", r#""eth_call""#.to_owned())];
        pairs.extend(
            [("id", id.to_owned()), ("params", params.to_owned())].into_iter().filter(|pair| !pair.1.is_empty()),
        );
        let turn = at.index(pairs.len());
        pairs.rotate_left(turn);
        pairs.extend(more);
        object(&pairs)
    })
}

fn body() -> impl Strategy<Value = String> {
    let anything = prop_oneof![5 => member(), 1 => value()];
    let batch = vec(anything.clone(), 0..4).prop_map(|members| format!(" [{}]", members.join(",")));
    prop_oneof![anything, batch]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn bodies_are_read_as_expected(body in body()) {
        request::check(body.as_bytes());
    }

    #[test]
    fn damaged_bodies_are_read_as_expected(body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        request::check(&body);
        request::check(&body[..at]);
    }

    #[test]
    fn any_bytes_are_keys_or_not(bytes in vec(any::<u8>(), 0..100)) {
        key::check(&bytes);
    }

    #[test]
    fn any_bytes_are_read_as_expected(body in vec(any::<u8>(), 0..200)) {
        request::check(&body);
    }
}
