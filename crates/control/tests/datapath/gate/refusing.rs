//! What does not pass, and who writes the answer.

use nodeweir_domain::fleet::roster::Rosters;

use super::{GOOD, Rig, expect_verdict};
use crate::client::CALL;
use crate::nodes::{Does, Node};
use crate::rosters::{MAIN, main_of, plain, roster, through_hop};
use crate::support::{BRIEF, Settings};

const GATED: &str = "{}";

#[tokio::test]
async fn the_gate_writes_its_refusals_itself() {
    let rig = Rig::new().await;
    for (status, retry_after) in
        [(400, None), (401, None), (402, None), (403, None), (413, None), (429, Some("02")), (503, Some("1"))]
    {
        let reply = rig.call(&format!("/main/v3/nw_r{status}")).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
        assert_eq!(reply.header("Retry-After"), retry_after, "{status}");
        let written = serde_json::json!({"written_by": "gate", "reason": status.to_string(), "length": CALL.len()});
        assert_eq!(reply.json(), written);
        if status == 401 {
            assert_eq!((reply.header("X-RateLimit-Limit"), reply.header("X-Credits-Remaining")), (None, None));
            reply.expect_usual_headers();
        } else {
            expect_verdict(&reply, None);
        }
        assert_eq!((reply.header("X-RPC-Endpoint"), reply.header("X-Gate-Cost")), (None, None));
        let asked = rig.gate.asked("/refusal").pop().unwrap();
        assert_eq!(
            (asked.body, asked.headers["X-Gate-Refusal"].to_str().unwrap()),
            (CALL.into(), &*status.to_string())
        );
        assert_eq!(asked.headers["X-Request-Id"].to_str().ok(), reply.header("X-Request-Id"));
        assert!(!asked.headers.contains_key("Authorization"));
    }
    assert_eq!(rig.node.count(), 0);
}

#[tokio::test]
async fn a_refusal_without_a_reason_is_not_the_gate_s() {
    let rig = Rig::new().await;
    rig.call("/main/v3/nw_moody").await.expect_error(503, -32603, "GATE_UNAVAILABLE");
    assert_eq!((rig.gate.asked("/refusal").len(), rig.node.count()), (0, 0));
}

#[tokio::test]
async fn what_no_node_answers_the_gate_puts_into_words() {
    let own = Node::start("own", Does::Answer).await;
    let leader = Node::start("leader", Does::Answer).await;
    for fallback in [None, Some(through_hop("leader", leader.at))] {
        let rosters = main_of(vec![plain("own", own.at)], fallback);
        let rig = Rig::of(own.clone(), &rosters, &Settings { gate: GATED, ..Settings::default() }).await;
        let brief = Settings { gate: GATED, timeouts: BRIEF, ..Settings::default() };
        let brief = Rig::of(own.clone(), &rosters, &brief).await;
        for (fault, status, reason) in [
            (Does::Say(502, "<html>"), 503, "upstream-unavailable"),
            (Does::Say(503, "<html>"), 503, "upstream-unavailable"),
            (Does::Say(307, "elsewhere"), 503, "upstream-unavailable"),
            (Does::Say(504, "<html>"), 504, "upstream-timeout"),
            (Does::Hang, 504, "upstream-timeout"),
        ] {
            let rig = if matches!(fault, Does::Hang) { &brief } else { &rig };
            own.now(fault.clone());
            leader.now(fault.clone());
            let reply = rig.call(GOOD).await;
            assert_eq!(reply.status, status, "{fault:?}");
            assert_eq!(reply.json()["reason"], reason, "{fault:?}");
            assert_eq!(reply.json()["length"], CALL.len());
            assert_eq!(reply.header("Retry-After"), (status == 503).then_some("1"));
            assert_eq!((reply.header("X-RPC-Endpoint"), reply.header("X-RPC-Latency-Ms")), (None, None));
            expect_verdict(&reply, Some("0"));
        }
        own.now(Does::Say(413, "mine is smaller"));
        rig.call(GOOD).await.expect_error(413, -32600, "REQUEST_TOO_LARGE");
    }
}

#[tokio::test]
async fn a_network_without_servers_asks_the_gate_first() {
    let node = Node::start("node", Does::Answer).await;
    let rosters = Rosters::from([
        (MAIN.parse().unwrap(), roster(vec![plain("node", node.at)], None)),
        ("empty".parse().unwrap(), roster(vec![], None)),
    ]);
    let rig = Rig::of(node, &rosters, &Settings { gate: GATED, ..Settings::default() }).await;
    let reply = rig.call("/empty/v3/nw_r402").await;
    assert_eq!((reply.status, rig.gate.seen()[0].headers["X-Gate-Network"].to_str().unwrap()), (402, "empty"));
    let reply = rig.call("/empty/v3/nw_good").await;
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (503, Some("upstream-unavailable")));
    expect_verdict(&reply, Some("0"));
    assert_eq!(rig.call(GOOD).await.answered_by(), "node");
}

/// The gate is asked, and then it is gone.
#[tokio::test]
async fn answers_of_our_own_stand_in_when_the_gate_cannot_write() {
    let slow = Node::start("slow", Does::Late(300)).await;
    for (fault, gate_is_for, expected) in [
        (Does::Say(503, "no"), "nodes", (503, -32603, "UPSTREAM_UNAVAILABLE")),
        (Does::Say(504, "no"), "nodes", (504, -32054, "UPSTREAM_TIMEOUT")),
        (Does::Answer, "refusals", (503, -32603, "GATE_UNAVAILABLE")),
    ] {
        slow.now(fault);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sock")).unwrap();
        let socket = folder.path().join("sock/gate.sock");
        let port = crate::support::free_port();
        let rosters = main_of(vec![plain("slow", slow.at)], None);
        let settings = Settings { gate: GATED, awaits_gate: true, ..Settings::default() };
        let kind = nodeweir_domain::config::ProxyKind::Nginx;
        let verdict = if gate_is_for == "nodes" { "204 No Content" } else { "403 Forbidden\r\nX-Gate-Refusal: 402" };
        let once = super::away::answers_once(&socket, verdict);
        let proxy = crate::support::Proxy::start_in(folder, port, kind, &rosters, &settings).await;
        let (status, rpc_code, code) = expected;
        crate::client::call(proxy.port, GOOD).await.expect_error(status, rpc_code, code);
        once.await.unwrap();
    }
}
