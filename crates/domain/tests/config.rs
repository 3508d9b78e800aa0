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

/// The sample with its last section, which is a comment because one machine has no use for it.
fn with_aws() -> String {
    let (before, aws) = SAMPLE.split_once("\n# aws:\n").unwrap();
    let aws = aws.lines().map(|line| line.strip_prefix("# ").or(line.strip_prefix('#')).unwrap());
    [before, "aws:"].into_iter().chain(aws).map(|line| line.to_owned() + "\n").collect()
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
    let sample = with_aws();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut keys = Vec::new();
    for (index, line) in sample.lines().enumerate() {
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
    // A section that may be left out is this or nothing.
    let node = node.pointer("/anyOf/0").unwrap_or(node);
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
fn its_section_for_aws_is_one_too() {
    let text = with_aws();
    let faults = Config::read(&text).unwrap_err().to_string();
    assert!(faults.contains("proxy.listen: with `aws`, the load balancer must reach it"), "{faults}");
    assert_eq!(faults.lines().count(), 1, "{faults}");
    let aws = Config::read(&text.replace("127.0.0.1:8080\n", "0.0.0.0:8080\n")).unwrap().aws.unwrap();
    assert_eq!((aws.account.as_str(), aws.region.as_str()), ("123456789012", "eu-central-1"));
    assert_eq!(aws.host, "rpc.example.com");
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf";
    assert_eq!(aws.secrets.values().collect::<Vec<_>>(), [arn]);
}

/// With what a person gets wrong there, and what is said to it.
#[test]
fn faults_of_a_deployment_come_all_at_once() {
    let text = with_aws().replace("127.0.0.1:8080\n", "0.0.0.0:8080\n");
    let swaps = [
        ("  interval: 60s", "  interval: 45s"),
        ("vpc: vpc-0123456789abcdef0", "vpc: main"),
        ("aws:secretsmanager:eu-central-1", "aws:secretsmanager:eu-west-1"),
        ("    INFURA_KEY: arn", "    INFURA: arn"),
        ("probe: [sg-0123456789abcdef0]", "probe: []"),
        ("host: rpc.example.com", "host: 'https://rpc.example.com'"),
        ("retention_days: 30", "retention_days: 31"),
        ("max_tasks: 10", "max_tasks: 1"),
        ("launch: fargate", "launch: lambda"),
    ];
    let faults = |swaps: &[(&str, &str)]| {
        let text = swaps.iter().fold(text.clone(), |text, (good, bad)| {
            assert!(text.contains(good), "{good}");
            text.replacen(good, bad, 1)
        });
        let faults = Config::read(&text).unwrap_err().0;
        faults.into_iter().map(|fault| format!("{}: {}", fault.key, fault.problem)).collect::<Vec<_>>()
    };
    let vpc = "aws.vpc: \"main\" is not a VPC's id, such as vpc-0123456789abcdef0";
    assert_eq!(faults(&swaps[..2]), [vpc], "shapes come first, as types do");
    let others: Vec<_> = swaps.into_iter().filter(|(good, _)| !good.starts_with("vpc")).collect();
    let found = faults(&others);
    for wanted in [
        "health.interval: with `aws`, whole minutes are expected, or what divides a minute, such as 15s",
        "aws.security_groups.probe: at least one is needed",
        "aws.load_balancer.host: \"https://rpc.example.com\" is not a host name such as rpc.example.com",
        "aws.secrets.INFURA: there is no such name under `secrets:`",
        "aws.secrets: INFURA_KEY is listed under `secrets:`; say here where its value is kept",
        "aws.secrets.INFURA: this is in region eu-west-1 of account 123456789012; the deployment is in eu-central-1 of 123456789012",
        "aws.service.max_tasks: `min_tasks` is 2; this must not be less",
        "aws.service.launch: unknown value \"lambda\"; expected fargate or ec2",
    ] {
        assert!(found.iter().any(|fault| fault == wanted), "{wanted}: not in {found:#?}");
    }
    assert!(found.iter().any(|fault| fault.starts_with("aws.logs.retention_days: one of 1, 3, 5")), "{found:#?}");
    assert_eq!(found.len(), 9, "{found:#?}");
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
    let sample = with_aws();
    let lines: Vec<_> = sample.lines().collect();
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
        let has_no_default = ["host", "default", "reserved_concurrency", "critical", "warning"].contains(&name);
        assert!(has_no_default, "line {}: only what has no default is commented out", key.line);
    }
}

/// Whether the last key of a path is a name that a person chose.
fn is_a_person_s(path: &[String]) -> bool {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    matches!(path[..], ["networks" | "secrets", _] | ["gate", "tiers", _] | ["aws", "secrets", _])
}

#[track_caller]
fn assert_same(shown: &str, wanted: &str) {
    let missing: Vec<_> = wanted.lines().filter(|line| !shown.lines().any(|other| other == *line)).collect();
    let unknown: Vec<_> = shown.lines().filter(|line| !wanted.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn each_key_has_a_comment_once() {
    let sample = with_aws();
    let lines: Vec<_> = sample.lines().collect();
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
