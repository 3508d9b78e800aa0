//! What people write (node lists, configurations) and what nodes answer, against a second reading of it: over the inputs
//! that are kept for the fuzzer, and over random ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod answer;
mod config;
#[path = "../kept/mod.rs"]
mod kept;
mod nodes;
mod proxy;
mod sound;
#[allow(dead_code, reason = "the gate's tests use the rest")]
#[path = "../tree/mod.rs"]
mod tree;
mod twin;
mod written;

use kept::check_kept;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[test]
fn kept_answers_are_read_as_expected() {
    check_kept("answer", 35, answer::check);
}

#[test]
fn kept_configurations_are_read_as_expected() {
    check_kept("config", 35, config::check);
}

#[test]
fn kept_node_lists_are_rendered_as_expected() {
    check_kept("nodes", 30, nodes::check);
}

/// Pieces of answers: keys and values in any order make most of them wrong, and many of them nearly right.
const FIELDS: [&str; 22] = [
    r#""jsonrpc":"2.0""#,
    r#""id":1"#,
    r#""id":1"#,
    r#""id":2"#,
    r#""id":1.0"#,
    r#""id":"1""#,
    r#""id":null"#,
    r#""result":"0x1b4""#,
    r#""result":"0x7fffffffffffffff""#,
    r#""result":"0x8000000000000000""#,
    r#""result":"0x00000000000000000000000000000000000000000000001""#,
    r#""result":"\u0030x\u0031""#,
    r#""result":"0xs3cret""#,
    r#""result":436"#,
    r#""result":{"$serde_json::private::RawValue":"\"0x5\""}"#,
    r#""error":null"#,
    r#""error":{"code":-32005,"message":"/v3/s3cret-and-more\u001b[2J"}"#,
    r#""error":{"code":1e3,"message":"/v3/\u0073\u0033cret"}"#,
    r#""error":[1]"#,
    r#""x":1e400"#,
    r#""y":"\ud800""#,
    r#""$serde_json::private::RawValue":"{\"id\":1,\"result\":\"0x5\"}""#,
];

fn body() -> impl Strategy<Value = String> {
    vec(select(&FIELDS[..]), 0..5).prop_map(|fields| format!("200\n{{{}}}", fields.join(", ")))
}

/// Lines that a configuration of one network may go on with.
const LINES: [&str; 40] = [
    "    fall: 2",
    "    rise: 0",
    "    max_lag_blocks: 30",
    "    max_lag: 61s",
    "    max_lag: 9223372036854775807s",
    "    max_lag_blocks: .nan",
    "  polygon: {chain_id: 137, block_time: 2s, leader: {url: 'http://10.0.0.1/x', ws_url: 'ws://10.0.0.1'}}",
    "  a.b: {chain_id: 1, block_time: 1s, leader: {url: 'http://10.0.0.2'}}",
    "  '': {chain_id: 0}",
    "default_network: polygon",
    "default_network: ethereum",
    "state: here",
    "health:",
    "  interval: 1.5s",
    "  timeout: 1s 1ns",
    "  allow_link_local: true",
    "secrets: {KEY: {hosts: ['*.example', localhost]}}",
    "proxy:",
    "  kind: haproxy",
    "  listen: '[::1]:1'",
    "  listen: '[fe80::1%3]:8080'",
    "  access_log: false",
    "  endpoint_headers: false",
    "  timeouts: {connect: 10ms, attempt: 9223372036854775807s}",
    "  timeouts: {connect: 10ms, attempt: 20ms, total: 90ms}",
    "  limits: {max_body: 1KiB, connections: 64}",
    "gate:",
    "  enabled: false",
    "  when_away: open",
    "  listen: 127.0.0.1:9000",
    "  trusted_proxies: [10.0.0.1/8, '::1']",
    "  limits: {store: 'rediss://me:${KEY}@node.example/3'}",
    "  tiers: {own: {requests_per_second: 1, methods: [trace_*], websocket: unmetered}}",
    "  prices: {table: alchemy, default: 0, methods: {eth_call: 3}, networks: {polygon: {eth_call: 0}}}",
    "rollout: {mode: reload, min_interval: 0s}",
    "---",
    "# nothing",
    "\"\\e[2J\": 1",
    "x: &x [*x]",
    "- - - -",
];

/// The lines in any order make most files wrong; in the order of the list, few.
fn file() -> impl Strategy<Value = String> {
    let least =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader:\n      url: http://127.0.0.1:1\n";
    let lines = prop_oneof![
        3 => proptest::sample::subsequence(LINES.to_vec(), 0..12),
        1 => vec(select(&LINES[..]), 0..8),
    ];
    lines.prop_map(move |lines| format!("{least}{}\n", lines.join("\n")))
}

const NAMES: [&str; 12] = [
    "a",
    "b",
    "infura",
    "backup",
    "a-ws",
    "0",
    "server",
    "a;",
    "a\\n}",
    "",
    "-",
    "node-of-a-name-that-is-40-characters-xx",
];

const ATTRIBUTES: [&str; 44] = [
    "url=http://10.0.0.1:8545",
    "url=http://10.0.0.1:8545",
    "url=http://10.0.0.2",
    "url=http://10.0.0.3/a/../b",
    "url=http://geth_1:8545",
    "url=http://[2001:db8::1]:8545",
    "url=http://0x7f.1",
    "url=http://2852039166",
    "url=http://unix:1",
    "url=https://node.example",
    "url=https://node.example/v3/${KEY}",
    "url=https://leader-0.example/v3/${KEY}",
    "url=https://evil.test/${KEY}",
    "url=https://10.0.0.4",
    "url=http://10.0.0.5/;server 203.0.113.9:80",
    "url=http://10.0.0.6/\\n}",
    "url=http://10.0.0.7/$host",
    "url=http://10.0.0.8/\"",
    "url=http://10.0.0.9/#",
    "url=http://me:correct-horse-battery@10.0.0.1",
    "url=http://10.0.0.1?correct-horse-battery",
    "url=7",
    "ws_url=ws://10.0.0.1:8546",
    "ws_url=ws://10.0.0.1:8546",
    "ws_url=wss://node.example/ws",
    "ws_url=http://10.0.0.1",
    "host=node.example",
    "host=10.0.0.1",
    "host=[::1]",
    "host=unix",
    "host=%[env(KEY)]",
    "host=a b",
    "weight=100",
    "weight=0",
    "weight=1.5",
    "role=leader",
    "role=node",
    "role=king",
    "cordon={\"by\":\"me\",\"why\":\"}\"}",
    "cordon={\"until\":\"2020-01-01T00:00:00Z\"}",
    "cordon={\"until\":\"soon\"}",
    "note=\\n}\\nserver 203.0.113.9:80;",
    "note=\\0\\t${KEY}",
    "unknown=1",
];

fn item() -> impl Strategy<Value = String> {
    let sign = select(&["+", "+", "+", "-", "~", "!", ""][..]);
    let network = select(&["ethereum", "ethereum", "ethereum", "rpc", "etherium", "ethereum;"][..]);
    let first = select(&ATTRIBUTES[..22]);
    (sign, network, select(&NAMES[..]), first, vec(select(&ATTRIBUTES[..]), 0..3)).prop_map(
        |(sign, network, name, first, more)| {
            let parts: Vec<_> = [network, name, first].into_iter().chain(more).collect();
            format!("{sign}{}\n", parts.join("\t"))
        },
    )
}

/// The text, and the same with one byte replaced and what follows cut off.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (text, any::<Index>(), any::<Option<u8>>()).prop_map(|(text, at, byte)| {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() + 1);
        let cut = bytes[..at].to_vec();
        if let (Some(place), Some(byte)) = (bytes.get_mut(at), byte) {
            *place = byte;
        }
        (bytes, cut)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn answers_are_read_as_expected((answer, cut) in damaged(body())) {
        answer::check(&answer);
        answer::check(&cut);
    }

    #[test]
    fn any_bytes_are_read_as_expected(body in vec(any::<u8>(), 0..200)) {
        answer::check(&body);
        config::check(&body);
        nodes::check(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn configurations_are_read_as_expected((file, cut) in damaged(file())) {
        config::check(&file);
        config::check(&cut);
    }

    #[test]
    fn node_lists_are_rendered_as_expected((list, cut) in damaged(vec(item(), 0..12).prop_map(|items| items.concat()))) {
        nodes::check(&list);
        nodes::check(&cut);
    }
}
