//! The sample of the configuration file, which is its documentation, and the schema, which editors read.
//! `UPDATE_GOLDEN=1 cargo test -p nodeweir-domain --test config` renews the schema.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodeweir_domain::config::{Config, schema};
use nodeweir_domain::name::NetworkId;
use serde_json::Value;

const SAMPLE: &str = include_str!("../../../config.sample.yml");

fn root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

fn sample() -> Config {
    Config::read(SAMPLE).unwrap_or_else(|error| panic!("{error}"))
}

/// A key as it stands in the sample: its path, its value there, and whether it is a comment.
struct Key {
    path: Vec<String>,
    value: String,
    is_active: bool,
    line: usize,
}

/// Finds keys by their indentation, also those that are commented out.
fn keys() -> Vec<Key> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut keys = Vec::new();
    for (index, line) in SAMPLE.lines().enumerate() {
        let is_active = !line.trim_start().starts_with('#');
        let text = if is_active { line.to_owned() } else { line.replacen("# ", "", 1) };
        let indent = text.len() - text.trim_start().len();
        let Some((name, value)) = text.trim_start().split_once(':') else { continue };
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        // A comment is a key only if it is one word and its value; a sentence has more.
        let is_sentence = !is_active && value.trim().contains(' ');
        if !is_name || is_sentence || line.starts_with("# ") {
            continue;
        }
        above.retain(|(outer, _)| *outer < indent);
        let path = above.iter().map(|(_, name)| name.clone()).chain([name.to_owned()]).collect();
        keys.push(Key { path, value: value.trim().to_owned(), is_active, line: index + 1 });
        above.push((indent, name.to_owned()));
    }
    keys
}

/// Every key that the schema knows; `*` for the names that people choose.
fn known(schema: &Value, node: &Value, path: &[String], found: &mut BTreeSet<Vec<String>>) {
    let node = match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    };
    for inner in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path: Vec<_> = path.iter().cloned().chain([inner.0.clone()]).collect();
        known(schema, inner.1, &path, found);
        found.insert(path);
    }
    if let Some(inner) = node.get("additionalProperties").filter(|inner| inner.is_object()) {
        let path: Vec<_> = path.iter().cloned().chain(["*".to_owned()]).collect();
        known(schema, inner, &path, found);
    }
}

#[test]
fn the_sample_is_a_configuration() {
    let config = sample();
    let network = |name: &str| &config.networks[&name.parse::<NetworkId>().unwrap()];
    let facts = ["ethereum", "polygon", "optimism"].map(|name| {
        let network = network(name);
        let url = network.leader.address.url.to_string();
        assert!(url.ends_with(".infura.io/v3/${INFURA_KEY}"), "{url}");
        assert!(network.leader.address.ws_url.is_some());
        (network.chain_id, network.block_time.as_secs(), network.max_lag_blocks)
    });
    assert_eq!(facts, [(1, 12, 10), (137, 2, 30), (10, 2, 10)]);
    assert_eq!(config.networks.len(), 3);
}

#[test]
fn its_values_are_the_defaults() {
    let sample = sample();
    // Without anything that has a default.
    let least = "
default_network: ethereum
networks:
  ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'https://mainnet.infura.io/v3/${INFURA_KEY}', ws_url: 'wss://mainnet.infura.io/ws/v3/${INFURA_KEY}'}}
  polygon: {chain_id: 137, block_time: 2s, max_lag: 60s, leader: {url: 'https://polygon-mainnet.infura.io/v3/${INFURA_KEY}', ws_url: 'wss://polygon-mainnet.infura.io/ws/v3/${INFURA_KEY}'}}
  optimism: {chain_id: 10, block_time: 2s, leader: {url: 'https://optimism-mainnet.infura.io/v3/${INFURA_KEY}', ws_url: 'wss://optimism-mainnet.infura.io/ws/v3/${INFURA_KEY}'}}
secrets: {INFURA_KEY: {hosts: ['*.infura.io']}}
";
    assert_eq!(sample, Config::read(least).unwrap());
    assert_eq!(sample.health.timeout, Duration::from_secs(2));
}

#[test]
fn where_it_says_default_it_shows_that_default() {
    let lines: Vec<_> = SAMPLE.lines().collect();
    let mut stated = 0;
    for key in keys().iter().filter(|key| key.is_active && !key.value.is_empty()) {
        // The comment above the key.
        let comment: Vec<_> =
            lines[..key.line - 1].iter().rev().take_while(|line| line.trim_start().starts_with('#')).collect();
        let comment: Vec<_> =
            comment.into_iter().rev().map(|line| line.trim_start().trim_start_matches("# ")).collect();
        let comment = comment.join(" ");
        let Some((_, rest)) = comment.split_once("Default: ").filter(|(_, rest)| !rest.starts_with("none")) else {
            continue;
        };
        assert!(rest.starts_with(&key.value), "line {}: {} is not {rest}", key.line, key.value);
        let after = rest[key.value.len()..].chars().next();
        assert!(matches!(after, None | Some('.' | ',' | ';' | ':')), "line {}: {rest}", key.line);
        stated += 1;
    }
    assert!(stated > 20, "{stated}");
}

#[test]
fn it_has_every_key_and_no_other() {
    let schema = schema();
    let mut wanted = BTreeSet::new();
    known(&schema, &schema, &[], &mut wanted);
    assert!(wanted.len() > 35, "{wanted:?}");
    let general = |path: &[String]| -> Vec<String> {
        let named = |index: usize| is_a_person_s(&path[..=index]);
        path.iter().enumerate().map(|(index, key)| if named(index) { "*".to_owned() } else { key.clone() }).collect()
    };
    let shown: BTreeSet<_> =
        keys().iter().map(|key| general(&key.path)).filter(|path| path.last().unwrap() != "*").collect();
    let lines = |paths: &BTreeSet<Vec<String>>| paths.iter().map(|path| path.join(".")).collect::<Vec<_>>().join("\n");
    assert_same(&lines(&shown), &lines(&wanted));
    for key in keys().iter().filter(|key| !key.is_active) {
        let name = key.path.last().unwrap().as_str();
        assert!(matches!(name, "host" | "default"), "line {}: only what has no default is commented out", key.line);
    }
}

/// Whether the last key of a path is a name that a person chose.
fn is_a_person_s(path: &[String]) -> bool {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    matches!(path[..], ["networks" | "secrets", _] | ["gate", "tiers", _])
}

#[track_caller]
fn assert_same(shown: &str, wanted: &str) {
    let missing: Vec<_> = wanted.lines().filter(|line| !shown.lines().any(|other| other == *line)).collect();
    let unknown: Vec<_> = shown.lines().filter(|line| !wanted.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn each_key_has_a_comment_once() {
    let lines: Vec<_> = SAMPLE.lines().collect();
    let mut told = BTreeSet::new();
    for key in keys() {
        let above = lines[key.line - 2].trim_start();
        let name = key.path.last().unwrap().clone();
        if above.starts_with('#') {
            told.insert(name);
        } else if !is_a_person_s(&key.path) {
            assert!(told.contains(&name), "line {}: {name} has no comment", key.line);
        }
    }
}

#[test]
fn the_schema_is_current() {
    let path = root("config.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{}: renew with UPDATE_GOLDEN=1", path.display());
    assert_eq!(SAMPLE.lines().next(), Some("# yaml-language-server: $schema=config.schema.json"));
}
