//! How fast and how much.

use serde_json::json;

use super::{Gated, assert_refused};
use crate::client::request;
use crate::process::until;

/// A batch of `count` harmless calls.
fn batch(count: usize) -> String {
    let member = |id| json!({"jsonrpc": "2.0", "id": id, "method": "eth_chainId", "params": []});
    serde_json::Value::from((1..=count).map(member).collect::<Vec<_>>()).to_string()
}

#[tokio::test]
async fn a_key_is_limited_and_told_when_to_come_again() {
    // So slow that a debt lasts longer than a machine stands still.
    let gated = Gated::start(", tiers: {slow: {requests_per_second: 5, credits_per_month: 100000}}").await;
    gated.project("shop", "slow").await;
    let key = gated.key("shop", "web", &[]).await;
    // A batch of a hundred passes while the bucket is full, and is paid with time.
    let answer = gated.post(&key.path(), &[], &batch(100)).await;
    assert_eq!((answer.status, answer.json().as_array().unwrap().len()), (200, 100), "{answer:?}");
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(answer.header("x-credits-cost"), Some("100"));

    let refused = gated.call(&key, "eth_chainId").await;
    assert_refused(&refused, 429, -32005, "RATE_LIMIT_EXCEEDED");
    assert_eq!(refused.header("retry-after"), Some("05"), "a debt of eighteen seconds is told as five");
    assert_eq!(refused.json()["error"]["message"], "rate limit exceeded, try again in 5s");
    assert_eq!(refused.json()["error"]["data"]["rate"]["allowed_rps"], 5);
    let refused = gated.post(&key.path(), &[], &batch(3)).await;
    assert_eq!((refused.status, refused.json().as_array().unwrap().len()), (429, 3));
    // Another key of the same project has its own.
    let other = gated.key("shop", "other", &[]).await;
    assert!(gated.call(&other, "eth_chainId").await.result().is_some());
    until("the debt is paid", async || gated.call(&key, "eth_chainId").await.result()).await;

    let large = gated.post(&other.path(), &[], &batch(101)).await;
    let members = large.json();
    assert_eq!((large.status, members.as_array().unwrap().len()), (413, 101), "{members}");
    assert_eq!((&members[100]["id"], &members[100]["error"]["data"]["code"]), (&101.into(), &"BATCH_TOO_LARGE".into()));
    gated.until_spent("shop", 102).await;
    // Who asks how often it was limited finds it among what was used: one call, three, and those until the debt was paid.
    until("refusals are counted too", async || {
        let usage = gated.rig.run(&["usage", "shop", "--by", "status", "--json"]).await.exits(0).json();
        let rows = usage["rows"].as_array().unwrap();
        let of = |status: &str| rows.iter().find(|row| row["status"] == status);
        let (passed, limited) = (of("200")?, of("429")?);
        assert_eq!(limited["credits"], 0, "{usage}");
        (passed["calls"] == 102 && limited["calls"].as_u64() > Some(4)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn credits_are_spent_to_the_last_one_and_can_be_added() {
    let gated = Gated::start(", tiers: {tiny: {requests_per_second: 1000, credits_per_month: 25}}").await;
    gated.project("shop", "tiny").await;
    let key = gated.key("shop", "web", &[]).await;
    let mut passed = 0;
    let refused = loop {
        let answer = gated.call(&key, "eth_chainId").await;
        if answer.result().is_none() {
            break answer;
        }
        passed += 1;
        assert_eq!(answer.header("x-credits-remaining"), Some((25 - passed).to_string().as_str()));
    };
    assert_eq!(passed, 25);
    assert_refused(&refused, 402, -32052, "INSUFFICIENT_CREDITS");
    assert_eq!(refused.header("x-credits-remaining"), Some("0"));
    // What costs more than is left is refused, and what is left can still be spent.
    gated.rig.run(&["project", "grant", "shop", "--credits", "7"]).await.exits(0);
    until("the added credits are known", async || {
        let answer = gated.call(&key, "eth_estimateGas").await;
        assert_eq!(answer.status, 402, "it costs ten");
        (answer.header("x-credits-remaining") == Some("7")).then_some(())
    })
    .await;
    let logs = gated.post(&key.path(), &[], &request("eth_getLogs").replace("[]", "[{}]")).await;
    assert_eq!((logs.status, logs.header("x-credits-cost")), (200, Some("5")), "{logs:?}");
    let credits = gated.until_spent("shop", 30).await;
    assert_eq!((&credits["granted"], &credits["left"], &credits["written_off"]), (&32.into(), &2.into(), &0.into()));
}

#[tokio::test]
async fn what_no_node_answers_is_given_back() {
    let mut gated = Gated::start("").await;
    gated.project("shop", "business").await;
    let key = gated.key("shop", "web", &[]).await;
    assert!(gated.call(&key, "eth_getBlockByNumber").await.status < 500);
    gated.a.kill();
    gated.leader.kill();
    let mut failed = 0;
    for _ in 0..5 {
        let answer = gated.call(&key, "eth_chainId").await;
        assert_refused(&answer, 503, -32603, "UPSTREAM_UNAVAILABLE");
        assert_eq!(answer.header("x-credits-cost"), Some("0"));
        failed += 1;
    }
    let two = r#"[{"jsonrpc":"2.0","id":7,"method":"eth_chainId"},{"jsonrpc":"2.0","method":"eth_chainId"},{"jsonrpc":"2.0","id":"é","method":"eth_call"}]"#;
    let answer = gated.post(&key.path(), &[], two).await;
    let members = answer.json();
    assert_eq!((answer.status, members.as_array().unwrap().len()), (503, 2), "{members}");
    assert_eq!((&members[0]["id"], &members[1]["id"]), (&7.into(), &"é".into()));
    let rows = gated.until_used("shop", 1 + failed + 3).await;
    let credits: u64 = rows.iter().map(|row| row["credits"].as_u64().unwrap()).sum();
    assert_eq!(credits, 5, "{rows:?}");
    gated.until_spent("shop", 5).await;
}
