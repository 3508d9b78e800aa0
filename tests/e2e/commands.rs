//! Commands that need no fleet.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{Done, NODEWEIR, run};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(NODEWEIR);
    command.args(args).env_remove("NODEWEIR_CONFIG").env_remove("INFURA_KEY");
    command
}

/// Checks a configuration's text.
async fn check(text: &str) -> Done {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yml");
    fs::write(&file, text).unwrap();
    let done = run(command(&["check", file.to_str().unwrap()])).await;
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "checking left something behind");
    done
}

#[tokio::test]
async fn the_sample_is_right_and_needs_its_secret() {
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.sample.yml")).unwrap();
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("config.sample.yml");
    fs::write(&path, sample).unwrap();
    let path = path.to_str().unwrap();
    run(command(&["check", path])).await.exits(1).says("is right").says("INFURA_KEY");
    let mut with_key = command(&["check", path, "--json"]);
    with_key.env("INFURA_KEY", "0123456789abcdef0123456789abcdef");
    let checked = run(with_key).await.exits(0);
    let value = checked.json();
    assert_eq!(value["warnings"], serde_json::json!([]));
    assert_eq!(value["networks"].as_array().unwrap().len(), 3);
    let gate = serde_json::json!({
        "enabled": true, "listen": "socket", "admin": "127.0.0.1:8081", "when_away": "closed", "limits": "local",
        "cautions": [],
    });
    assert_eq!(value["gate"], gate);
    assert!(!checked.out.contains("0123456789abcdef"), "the key is shown");
    let mut without = command(&["up", path]);
    without.current_dir(file.path());
    run(without).await.exits(1).says("INFURA_KEY");
}

#[tokio::test]
async fn all_faults_of_a_configuration_are_said_at_once() {
    let right =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader: {url: 'http://127.0.0.1:1'}\n";
    check(right).await.exits(0).says("is right").says("ethereum: chain 1, leader infura, 10 blocks of lag allowed");
    let wrong = format!("{right}health: {{interval: 5}}\nproxi: 1\n");
    check(&wrong).await.exits(1).says("expected a text").says("did you mean `proxy`?");
    let wrong = format!("{right}    fall: 0\nproxy: {{kind: apache, listen: here}}\n");
    check(&wrong).await.exits(1).says("1 to 100 is expected").says("expected nginx or haproxy").says("\"here\" is not");
    for garbage in ["", "{", "networks: 7", "\u{0}"] {
        check(garbage).await.exits(1).says("has faults");
    }
}

#[tokio::test]
async fn what_the_gate_does_is_said_and_what_it_lets_through() {
    let right =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader: {url: 'http://127.0.0.1:1'}\n";
    let done = check(right).await.exits(0);
    assert!(!done.out.contains("unmetered") && !done.out.contains("when_away"), "{done:?}");
    done.says("gate: on, at a unix socket in the proxy's folder, admin at 127.0.0.1:8081; while it is away, requests are answered 503");
    check(&format!("{right}gate: {{enabled: false, when_away: open}}\n"))
        .await
        .exits(0)
        .says("the gate is off: whoever reaches the address may call");
    let tier = "{requests_per_second: 1, credits_per_month: 1, websocket: unmetered}";
    let gate = format!("{right}gate: {{listen: '127.0.0.1:9000', when_away: open, tiers: {{a: {tier}, b: {tier}}}}}\n");
    let done = check(&gate).await.exits(0).says("gate: on, at 127.0.0.1:9000").says("requests pass");
    done.says("`when_away: open`").says("tier a: `websocket: unmetered`").says("tier b: `websocket: unmetered`");
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(command(&["completions", shell])).await.exits(0);
        assert!(done.out.contains("rollback") && done.err.is_empty(), "{shell}");
    }
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yml");
    let text =
        "networks:\n  ethereum:\n    chain_id: 1\n    block_time: 12s\n    leader: {url: 'http://127.0.0.1:1'}\n";
    fs::write(&file, text).unwrap();
    let mut without_proxy = command(&["up", file.to_str().unwrap()]);
    without_proxy.env("NODEWEIR_PROXY_ROOT", "/does/not/exist");
    run(without_proxy).await.exits(1).says("no nginx to run").says("Correct NODEWEIR_PROXY_ROOT");
    let mut without_configuration = command(&["up"]);
    without_configuration.current_dir(place.path());
    run(without_configuration).await.exits(2).says("no configuration: there is no config.local.yml here");
}
