//! Nodes die and come back while clients call.

use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;

use crate::both::with_both;
use crate::client::{Load, Tried, failures};
use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::{BRIEF, Rig};

/// What a client of HAProxy meets when its request went out on a kept connection to a node, both tries found such a
/// connection broken, and nobody else is left: HAProxy passes the break on, so that the client tries again.
const CLOSED: &str = "no answer: unexpected end of file";

/// Kept connections of the clients.
const CLIENTS: usize = 4;

#[tokio::test]
async fn a_node_that_dies_costs_no_request() {
    with_both(async |kind| {
        let (leader, mut a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a), ("b", &b)]).await;
        let load = Load::start(rig.port, CLIENTS);
        // Both have to be in use before one dies.
        load.until_answered_by(&["a", "b"]).await;

        let killed = Instant::now();
        a.kill();
        let (status, took) = rig.until_all_serve(["b"]).await;
        println!("{kind}: left the roster {took:?} after its death");
        assert!(took < Duration::from_secs(30), "{kind}: a tick and a confirmation take two seconds, not {took:?}");
        assert_eq!(status.why("a"), "connection refused");
        assert_eq!(status.code, 1);
        assert!(status.says("ethereum/a is unhealthy since"), "{:?}", status.problems());

        let left = Instant::now();
        a.revive().await;
        let (_, took) = rig.until_all_is_well(["a", "b"]).await;
        println!("{kind}: back in the roster {took:?} after it came back");
        load.until_answered_by(&["a", "b"]).await;

        let tried = load.end().await;
        println!("{kind}: {} requests", tried.len());
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
        assert!(tried.len() > 200, "{kind}: only {} requests", tried.len());
        let late = tried.iter().filter(|one| one.at > killed + Duration::from_secs(1) && one.at < left);
        assert!(late.clone().all(|one| one.outcome.as_deref() != Ok("a")), "{kind}: the dead answered");
    })
    .await;
}

#[tokio::test]
async fn a_node_that_hangs_costs_time_and_no_request() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving_with(kind, &leader, &[("a", &a), ("b", &b)], &BRIEF).await;
        let load = Load::start(rig.port, CLIENTS);
        load.until_answered_by(&["a", "b"]).await;

        a.freeze();
        let (status, took) = rig.until_all_serve(["b"]).await;
        println!("{kind}: left the roster {took:?} after it froze");
        assert_eq!(status.why("a"), "no answer in time");
        load.until_answered_by(&["b"]).await;
        a.thaw();
        rig.until_all_serve(["a", "b"]).await;
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
    })
    .await;
}

#[tokio::test]
async fn without_own_nodes_the_leader_serves() {
    with_both(async |kind| {
        let (leader, mut a, mut b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a), ("b", &b)]).await;
        let load = Load::start(rig.port, CLIENTS);
        load.until_answered_by(&["a", "b"]).await;

        let killed = Instant::now();
        a.kill();
        b.kill();
        let alone = "ethereum: no own node serves; the leader serves alone";
        let (status, took) =
            rig.until_status("the leader serves", |status| status.live().is_some() && status.says(alone)).await;
        println!("{kind}: the leader served alone {took:?} after all own nodes had died");
        assert_eq!(status.code, 1);
        assert_eq!(status.node("leader")["serves"], "serves");
        let leader_serves = Instant::now();
        assert_eq!(rig.endpoint().await, "leader");

        a.revive().await;
        b.revive().await;
        rig.until_all_is_well(["a", "b"]).await;
        assert_ne!(rig.endpoint().await, "leader");

        let tried = load.end().await;
        let failed = failures(&tried);
        println!("{kind}: {} of {} requests failed", failed.len(), tried.len());
        if kind == ProxyKind::Nginx {
            // Each request that two own nodes failed goes to the leader at once.
            assert_eq!(failed, Vec::<&str>::new(), "of {}", tried.len());
        } else {
            // HAProxy uses the leader when its own checks have noticed, or when the new revision says so. Until then
            // clients are told to try again, in a way that they understand.
            for why in &failed {
                let told = why.starts_with("503: ") && why.contains("UPSTREAM_UNAVAILABLE");
                assert!(told || *why == CLOSED, "{why}");
            }
            let when = |one: &&Tried| one.outcome.is_err();
            assert!(tried.iter().filter(when).all(|one| one.at > killed), "before anything was wrong");
            // A connection that was kept meanwhile makes its last request to the process before.
            let late = tried.iter().filter(when).filter(|one| one.at > leader_serves).count();
            assert!(late <= CLIENTS, "{late} after the leader served alone");
        }
    })
    .await;
}

#[tokio::test]
async fn with_nobody_left_clients_are_told_so() {
    with_both(async |kind| {
        let (mut leader, mut a) = (Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        assert_eq!(rig.endpoint().await, "a");
        leader.kill();
        a.kill();
        let mut answer = rig.call().await;
        if kind == ProxyKind::Haproxy && answer.is_err() {
            // See [`CLOSED`]; now no connection is kept.
            answer = rig.call().await;
        }
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503, "{kind}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{kind}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{kind}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{kind}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{kind}: {answer:?}");
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["data"]["code"]), (&(-32603).into(), &"UPSTREAM_UNAVAILABLE".into()));

        // Nobody at all answers the probes either: the fault may be on this side, and health stays as it was.
        let (status, _) = rig.until_status("it is stale", |status| status.says("ethereum: stale since")).await;
        assert_eq!(status.code, 1);
        assert!(status.is_healthy("a"), "{status:?}");
        a.revive().await;
        rig.until_status("`a` is seen again", |status| status.serves("a") && !status.says("stale")).await;
        // HAProxy's own checks may see it later.
        let is_called = async || rig.call().await.ok().filter(|answer| answer.endpoint() == "a").map(drop);
        until("`a` is called again", is_called).await;

        // What was never there.
        let unknown = rig.call_at("/nowhere/v3").await.unwrap();
        assert_eq!(unknown.status, 404, "{kind}");
        assert!(unknown.json()["error"]["message"].as_str().is_some_and(|text| text.contains("no such")), "{kind}");
    })
    .await;
}
