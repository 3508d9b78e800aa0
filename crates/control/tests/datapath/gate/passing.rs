//! What passes, and what is said about it.

use axum::http::HeaderName;

use super::{GOOD, Rig, expect_verdict};
use crate::client::{CALL, request, try_get};
use crate::nodes::{Does, Node};
use crate::rosters::{main_of, plain, through_hop};
use crate::support::{Settings, until};

/// Whatever a client may send along.
const FROM_CLIENT: [&str; 14] = [
    "Authorization: Bearer nw_in_header",
    "Cookie: session=1",
    "Origin: https://dapp.example",
    "Referer: https://dapp.example/",
    "User-Agent: dapp",
    "X-Forwarded-For: 1.2.3.4",
    "X-Request-Id: chosen-by-client",
    "X-Gate-Project: mine",
    "X-Gate-Refusal: mine",
    "X-Gate-Path-Key: mine",
    "X-Gate-Address: 9.9.9.9",
    "X-Gate-Quiet: 1",
    "Accept: application/json",
    "Accept-Encoding: gzip",
];

#[tokio::test]
async fn the_gate_is_told_what_it_must_know_and_the_node_nothing_of_it() {
    let rig = Rig::new().await;
    let reply = request(rig.port(), "POST", "/main/v3/nw_good?x=nw_query", &FROM_CLIENT, CALL).await;
    assert_eq!(reply.answered_by(), "node");
    expect_verdict(&reply, Some("3"));
    assert_eq!(reply.header("X-RPC-Endpoint"), Some("node"));
    assert!(!reply.text_of_headers().to_lowercase().contains("x-gate"), "{reply:?}");

    let [asked] = rig.gate.seen().try_into().unwrap();
    let mut said: Vec<_> =
        asked.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    said.sort();
    let id = format!("x-request-id: {}", reply.header("X-Request-Id").unwrap());
    let length = format!("content-length: {}", CALL.len());
    assert_eq!(
        said,
        [
            "authorization: Bearer nw_in_header",
            &length,
            "host: gate",
            "x-gate-address: 127.0.0.1",
            "x-gate-kind: rpc",
            "x-gate-network: main",
            "x-gate-origin: https://dapp.example",
            "x-gate-path-key: nw_good",
            &id,
        ]
    );
    assert_eq!((asked.uri.path(), &asked.body[..]), ("/gate", CALL.as_bytes()));

    let [seen] = rig.node.seen().try_into().unwrap();
    let mut names: Vec<_> = seen.headers.keys().map(HeaderName::as_str).filter(|name| *name != "connection").collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "content-length", "content-type", "host", "x-request-id"]);
    assert_eq!((seen.body, seen.uri.path()), (CALL.into(), "/"));
}

#[tokio::test]
async fn a_node_cannot_speak_for_the_gate() {
    const LIES: Does = Does::AnswerWith(&[
        ("X-Gate-Project", "x"),
        ("X-Gate-Cost", "0"),
        ("X-Gate-Refusal", "x"),
        ("X-Gate-Quiet", "1"),
        ("X-RateLimit-Remaining", "9999"),
        ("X-RateLimit-Burst", "9999"),
        ("X-Credits-Cost", "9999"),
        ("X-Credits-Remaining", "9999"),
    ]);
    let rig = Rig::new().await;
    rig.node.now(LIES);
    let reply = rig.call(GOOD).await;
    expect_verdict(&reply, Some("3"));
    assert!(!reply.text_of_headers().to_lowercase().contains("x-gate"), "{reply:?}");
    assert_eq!(rig.used(1).await[0]["project"], "acme");
}

/// What a node says is its own word: the gate refused nothing.
#[tokio::test]
async fn a_node_s_own_errors_are_not_the_gate_s() {
    const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted"}}"#;
    let rig = Rig::new().await;
    for status in [200, 400, 500] {
        rig.node.now(Does::Say(status, ERROR));
        let reply = rig.call(GOOD).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, ERROR));
        expect_verdict(&reply, Some("3"));
    }
    for status in [401, 402, 403, 429] {
        rig.node.now(Does::Say(status, ERROR));
        let reply = rig.call(GOOD).await;
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")), "{status}");
        assert_eq!(reply.json()["reason"], "upstream-unavailable", "{status}");
        expect_verdict(&reply, Some("0"));
    }
}

#[tokio::test]
async fn the_leader_takes_what_own_nodes_failed() {
    let (own, leader) = (Node::start("own", Does::Say(403, "no")).await, Node::start("leader", Does::Answer).await);
    let rosters = main_of(vec![plain("own", own.at)], Some(through_hop("leader", leader.at)));
    let rig = Rig::of(own, &rosters, &Settings { gate: "{}", ..Settings::default() }).await;
    let reply = rig.call(GOOD).await;
    assert_eq!(reply.answered_by(), "leader");
    expect_verdict(&reply, Some("3"));
    assert_eq!((rig.gate.seen().len(), leader.seen()[0].body.clone()), (1, CALL.into()), "asked once");
}

#[tokio::test]
async fn notifications_alone_are_answered_with_nothing() {
    let rig = Rig::new().await;
    rig.node.now(Does::Say(200, ""));
    for (path, status) in [("/main/v3/nw_quiet", 204), (GOOD, 200)] {
        let reply = rig.call(path).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, ""), "{path}");
        assert_eq!(reply.header("Content-Length"), (status == 200).then_some("0"), "{path}");
        expect_verdict(&reply, Some("3"));
    }
    // Also when it is the leader that says nothing.
    let (own, leader) = (Node::start("own", Does::Say(503, "")).await, Node::start("leader", Does::Say(200, "")).await);
    let rosters = main_of(vec![plain("own", own.at)], Some(plain("leader", leader.at)));
    let other = Rig::of(own, &rosters, &Settings { gate: "{}", ..Settings::default() }).await;
    for (path, status) in [("/main/v3/nw_quiet", 204), (GOOD, 200)] {
        assert_eq!(other.call(path).await.status, status, "{path}");
    }
    // And what fails is said as ever.
    rig.node.now(Does::Say(503, ""));
    assert_eq!(rig.call("/main/v3/nw_quiet").await.json()["reason"], "upstream-unavailable");
    let body = r#"{"jsonrpc":"2.0","method":"eth_call"}"#;
    let reply = request(rig.port(), "POST", "/main/v3/nw_quiet", &[], body).await;
    assert_eq!((reply.status, reply.header("X-Credits-Cost")), (204, Some("0")), "{reply:?}");
    let id = reply.header("X-Request-Id").unwrap().to_owned();
    let line = until("it is logged", async || {
        let log = rig.used(1).await;
        log.into_iter().find(|line| line["request_id"] == id.as_str())
    });
    assert_eq!(line.await["status"], 503, "or nobody would give back what it cost");
    // A node that answers nevertheless is not silenced.
    rig.node.now(Does::Answer);
    assert_eq!(rig.call("/main/v3/nw_quiet").await.answered_by(), "node");
}

#[tokio::test]
async fn what_needs_no_key_is_not_asked_about() {
    let rig = Rig::new().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(try_get(rig.port(), path).await.unwrap().status, 200);
    }
    for (method, path, body, status) in [
        ("OPTIONS", "/main/v3/nw_good", "", 204),
        ("OPTIONS", "/main/ws/v3", "", 204),
        ("GET", "/main/v3/nw_good", "", 405),
        ("POST", "/unknown/v3/nw_good", CALL, 404),
        ("POST", "/main/v3/nw_good", "", 400),
    ] {
        let reply = request(rig.port(), method, path, &[], body).await;
        assert_eq!(reply.status, status, "{method} {path}");
        reply.expect_usual_headers();
        assert_eq!(reply.header("X-RateLimit-Limit"), None);
    }
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0));
}

#[tokio::test]
async fn what_passed_is_logged_once_and_nothing_else() {
    let rig = Rig::new().await;
    let good = rig.call(GOOD).await;
    rig.call("/main/v3/nw_r402").await;
    rig.node.now(Does::Say(503, ""));
    let failed = rig.call(GOOD).await;
    rig.call("/main/v3/nw_r401").await;
    rig.call("/main/v3").await;
    // The refused ones were before the last of these.
    let last = rig.call(GOOD).await;
    assert_eq!(rig.used(3).await.len(), 3);
    for (reply, status) in [(good, 200), (failed, 503), (last, 503)] {
        let id = reply.header("X-Request-Id").unwrap();
        let line = rig.used(3).await.into_iter().find(|line| line["request_id"] == id).unwrap();
        let names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = ["time", "request_id", "project", "key", "network", "methods", "cost", "status", "seconds"]
            .into_iter()
            .chain(["bytes_in", "bytes_out"])
            .collect::<Vec<_>>();
        expected.sort_unstable();
        assert_eq!(names, expected, "{line}");
        assert_eq!((line["project"].as_str(), line["key"].as_str()), (Some("acme"), Some("0123456789ab")));
        assert_eq!((line["network"].as_str(), line["methods"].as_str()), (Some("main"), Some("eth_blockNumber:1:3")));
        assert_eq!((line["status"].as_u64(), line["cost"].as_u64()), (Some(status), Some(3)), "{line}");
        assert!(line["time"].as_f64().unwrap() > 1.7e9 && line["seconds"].as_f64().unwrap() < 15.0);
        assert!(line["bytes_in"].as_u64().unwrap() > 100 && line["bytes_out"].as_u64().unwrap() > 100);
    }
    let id = until("the request is logged", async || {
        rig.proxy.log().into_iter().find(|line| line.contains("\"project\":\"acme\",\"key\":\"0123456789ab\""))
    })
    .await;
    assert!(serde_json::from_str::<serde_json::Value>(&id).is_ok(), "{id}");
}
