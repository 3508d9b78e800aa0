//! What nginx is told.

use std::time::Instant;

use nodeweir_domain::gate::restrict::Restrictions;

use crate::rig::{Rig, call};

fn free() -> Restrictions {
    Restrictions::default()
}

#[tokio::test]
async fn a_pass_tells_nginx_all_that_it_shows_and_logs() {
    let rig = Rig::start("").await;
    let key = rig.key("shop", "free", 1, free()).await;
    let said = rig.gate(&key, &call("eth_getLogs")).await;
    assert_eq!((said.status, said.header("x-gate-project")), (204, Some("shop")), "{said:?}");
    assert_eq!(said.header("x-gate-methods"), Some("eth_getLogs:1:5"));
    assert_eq!((said.header("x-gate-cost"), said.header("x-gate-credits")), (Some("5"), Some("999995")));
    assert_eq!((said.header("x-gate-limit"), said.header("x-gate-remaining")), (Some("10"), Some("10")));
    assert_eq!(said.header("x-gate-burst"), Some("20"));
    assert!(said.header("x-gate-key").unwrap().len() == 12 && !key.contains(said.header("x-gate-key").unwrap()));
    assert!(said.header("x-gate-quiet").is_none() && said.refusal().is_empty());

    let batch = format!("[{},{},{}]", call("eth_call"), call("unheard_of"), call("eth_call"));
    let said = rig.gate(&key, &batch).await;
    assert_eq!(said.header("x-gate-methods"), Some("eth_call:2:2,other:1:1"));
    let quiet = r#"[{"jsonrpc":"2.0","method":"eth_call"}]"#;
    assert_eq!(rig.gate(&key, quiet).await.header("x-gate-quiet"), Some("1"));
}

#[tokio::test]
async fn each_refusal_is_told_with_its_reason_and_spends_nothing() {
    let rig = Rig::start(", batch: 2").await;
    let key = rig.key("shop", "free", 1, free()).await;
    let elsewhere = Restrictions { networks: vec!["polygon".parse().unwrap()], ..free() };
    let elsewhere = rig.key("shop", "free", 2, elsewhere).await;
    let nowhere = rig.key("lost", "no-such-tier", 3, free()).await;
    let unknown = nodeweir_domain::gate::key::Secret::from_random(&[9; 64]).unwrap();
    let (good, bad) = (call("eth_call"), call("admin_peers"));
    for (key, body, reason) in [
        ("", good.as_str(), "INVALID_API_KEY"),
        ("nw_x", &good, "INVALID_API_KEY"),
        (unknown.reveal(), &good, "INVALID_API_KEY"),
        (&key, "", "PARSE_ERROR"),
        (&key, "{", "PARSE_ERROR"),
        (&key, "{}", "INVALID_REQUEST"),
        (&key, "[]", "INVALID_REQUEST"),
        (&key, &format!("[{good},{good},{good}]"), "BATCH_TOO_LARGE"),
        (&key, &bad, "METHOD_NOT_ALLOWED"),
        (&key, &format!("[{good},{bad}]"), "METHOD_NOT_ALLOWED"),
        (&elsewhere, &good, "NETWORK_NOT_ALLOWED"),
        (&nowhere, &good, "GATE_UNAVAILABLE"),
    ] {
        let said = rig.gate(key, body).await;
        assert_eq!(said.status, 403, "{reason}: {said:?}");
        assert!(said.refusal().contains(reason), "{reason}: {said:?}");
        // Who is known, and may do something, is told what is left.
        let is_known = matches!(reason, "METHOD_NOT_ALLOWED" | "NETWORK_NOT_ALLOWED");
        assert_eq!(said.header("x-gate-remaining"), is_known.then_some("10"), "{reason}: {said:?}");
        let called = match reason {
            "METHOD_NOT_ALLOWED" if body.starts_with('[') => Some("eth_call:1:0,other:1:0"),
            "METHOD_NOT_ALLOWED" => Some("other:1:0"),
            "NETWORK_NOT_ALLOWED" | "GATE_UNAVAILABLE" => Some("eth_call:1:0"),
            _ => None,
        };
        assert_eq!(said.header("x-gate-methods"), called, "of who is known, refusals are counted: {said:?}");
        // What nginx then asks for.
        let answer = rig.ask("/refusal", &[("X-Gate-Refusal", said.refusal())], body).await;
        assert!(answer.status >= 400 && answer.body.starts_with(['{', '[']), "{answer:?}");
    }
    assert!(rig.account("shop").await.is_none_or(|account| account.spent == 0 && account.leases.is_empty()));
    assert_eq!(rig.gate(&key, &good).await.header("x-gate-remaining"), Some("10"), "no rate was taken");
}

#[tokio::test]
async fn a_refusal_is_written_with_ids_whoever_found_it() {
    let rig = Rig::start("").await;
    let body = r#"[{"jsonrpc":"2.0","id":"a","method":"x"},{"jsonrpc":"2.0","id":2,"method":"x"}]"#;
    for (said, status, code) in [
        ("upstream-unavailable", 503, -32603),
        ("upstream-timeout", 504, -32054),
        ("gate-unavailable", 503, -32603),
        ("garbage", 503, -32603),
        (r#"{"code":"INSUFFICIENT_CREDITS","cost":5,"remaining":1}"#, 402, -32052),
    ] {
        let answer = rig.ask("/refusal", &[("X-Gate-Refusal", said)], body).await;
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")), "{said}");
        assert_eq!((&json[0]["id"], &json[1]["id"]), (&"a".into(), &2.into()));
        assert_eq!(json[1]["error"]["code"], code);
    }
    assert_eq!(rig.ask("/elsewhere", &[], "").await.status, 404);
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404)] {
        assert_eq!(rig.admin(path).await.unwrap().status, status, "{path}");
    }
}

#[tokio::test]
async fn the_rate_is_kept_and_leaves_memory_when_it_is_idle() {
    let rig = Rig::start("").await;
    let key = rig.key("shop", "free", 1, free()).await;
    let (began, mut passed) = (Instant::now(), 0);
    let refused = loop {
        let said = rig.gate(&key, &call("eth_call")).await;
        if said.status != 204 {
            break said;
        }
        passed += 1;
    };
    // Twenty, and what came back while they were asked, which is ten a second.
    let most = 20 + began.elapsed().as_millis() / 100 + 1;
    assert!((20..=most).contains(&passed), "{passed} of {most}");
    assert!(refused.refusal().contains("RATE_LIMIT_EXCEEDED"), "{refused:?}");
    assert_eq!(refused.header("x-gate-retry-after"), Some("01"));
    assert_eq!(refused.header("x-gate-remaining"), Some("0"));
    crate::rig::until("the bucket is forgotten", async || {
        (rig.metric("nodeweir_gate_buckets").await == 0 && rig.metric("nodeweir_gate_keys").await == 1).then_some(())
    })
    .await;
}
