//! Operators edit the node list while everything runs.

use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;
use serde_json::Value;

use crate::both::{with_both, with_one};
use crate::client::{Connection, Load, failures};
use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::{BRIEF, Rig};

/// An edit shall be live within seconds; a machine that is loaded, or stands still for a while, gets some more.
const SECONDS: Duration = Duration::from_secs(20);

/// A method that no probe uses, so that a node's own count of it is that of clients' requests.
const READ: &str = "eth_gasPrice";

#[tokio::test]
async fn every_edit_is_live_within_seconds_and_costs_no_request() {
    with_both(async |kind| {
        let (leader, a, b, c) =
            (Anvil::start().await, Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let load = Load::start(rig.port, 2);
        let timed = async |args: &[&str], words: &str| {
            let began = Instant::now();
            rig.run(args).await.exits(0).says(words);
            println!("{kind}: nodeweir {} took {:?}", args.join(" "), began.elapsed());
            assert!(began.elapsed() < SECONDS, "{kind}: {args:?} took {:?}", began.elapsed());
            // The command says so only when it is so.
            let status = rig.status().await;
            assert!(status.live().is_some(), "{kind}: {args:?}: {status:?}");
            status
        };

        let status = timed(&["node", "add", "ethereum", "b", &b.url()], "it serves").await;
        assert!(status.serves("a") && status.serves("b"));
        load.until_answered_by(&["a", "b"]).await;

        let status = timed(&["node", "edit", "ethereum", "b", "--url", &c.url()], "it serves").await;
        assert_eq!(status.node("b")["url"], c.url());
        let at_b = b.calls(READ);
        reads_until_called(&rig, &c).await;
        assert_eq!(b.calls(READ), at_b, "{kind}: requests still went to the old address");

        let status = timed(&["node", "edit", "ethereum", "b", "--weight", "9"], "it serves").await;
        assert_eq!(status.node("b")["weight"], 9);
        let weight = if kind == ProxyKind::Nginx { "weight=9" } else { "weight 9" };
        assert!(rig.published().contains(weight), "{kind}: {}", rig.published());

        let status = timed(&["node", "cordon", "ethereum", "b", "--why", "new disk"], "it gets no new requests").await;
        assert!(status.serves("a") && !status.serves("b"));
        assert_eq!(
            (&status.node("b")["cordon"]["why"], &status.node("b")["cordon"]["by"]),
            (&"new disk".into(), &"operator".into())
        );
        assert_eq!((status.code, status.problems()), (0, Vec::<&str>::new()), "a cordon is no problem");
        let at_c = c.calls(READ);
        reads(&rig, 20).await;
        assert_eq!(c.calls(READ), at_c, "{kind}: a cordoned node was called");

        timed(&["node", "uncordon", "ethereum", "b"], "it serves").await;
        reads_until_called(&rig, &c).await;

        let status = timed(&["node", "remove", "ethereum", "b"], "it gets no new requests").await;
        assert_eq!(status.node("b"), Value::Null);
        let at_c = c.calls(READ);
        reads(&rig, 20).await;
        assert_eq!(c.calls(READ), at_c, "{kind}: a removed node was called");

        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
        let events = rig.run(&["history", "--events", "--json"]).await.exits(0).json();
        let edits: Vec<_> = events.as_array().unwrap().iter().filter(|event| event["kind"] == "edit").collect();
        assert!(edits.iter().all(|event| event["who"] == "operator"), "{edits:?}");
        assert!(edits[0]["what"].as_str().unwrap().starts_with("removed"), "{edits:?}");
    })
    .await;
}

/// Requests, each on a connection of its own.
async fn reads(rig: &Rig, count: usize) {
    for _ in 0..count {
        let answer = Connection::call(rig.port, "/v3", READ).await.unwrap();
        assert!(answer.result().is_some(), "{}: {answer:?}", rig.kind);
    }
}

/// Twenty requests, and again until the node was called: HAProxy draws among nodes with equally few connections.
async fn reads_until_called(rig: &Rig, node: &Anvil) {
    let before = node.calls(READ);
    until("the node is called", async || {
        reads(rig, 20).await;
        (node.calls(READ) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_edit_is_seen_long_before_the_next_tick() {
    with_one(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::new(kind, &leader);
        rig.configure("interval: 1s", "interval: 1h");
        rig.run(&["node", "add", "ethereum", "a", &a.url()]).await.exits(0).says("when `nodeweir up` runs");
        rig.up();
        rig.until_all_serve(["a"]).await;
        let began = Instant::now();
        rig.run(&["node", "add", "ethereum", "b", &b.url()]).await.exits(0).says("it serves");
        assert!(began.elapsed() < SECONDS, "took {:?}", began.elapsed());
        assert!(rig.status().await.serves("b"));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_reason_and_changes_nothing() {
    with_one(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let list = async || rig.run(&["node", "list", "--json"]).await.exits(0).json()["networks"][0]["nodes"].clone();
        let shape = |nodes: &Value| {
            let nodes = nodes.as_array().unwrap().iter();
            nodes
                .map(|node| [&node["node"], &node["url"], &node["weight"], &node["cordon"]].map(Value::to_string))
                .collect::<Vec<_>>()
        };
        let (before, live) = (shape(&list().await), rig.published());
        let url = &b.url();
        for (args, code, words) in [
            (&["add", "ethereum", "b", "nonsense"][..], 1, "\"nonsense\" does not start with http://"),
            (&["add", "ethereum", "b", "http://a b"], 1, "was not added: url"),
            (&["add", "ethereum", "b", "http://169.254.169.254/latest"], 1, "link-local"),
            (&["add", "ethereum", "b", "https://x.example/${KEY}"], 1, "secret KEY is not listed"),
            (&["add", "ethereum", "b", &a.url()], 1, "is already the address of a"),
            (&["add", "ethereum", "b", url, "--weight", "0"], 1, "weight: 0 is not between 1 and 100"),
            (&["add", "ethereum", "b", url, "--role", "king"], 1, "unknown value \"king\""),
            (&["add", "ethereum", "b", url, "--role", "leader"], 1, "leader is already the leader"),
            (&["add", "ethereum", "a", url], 1, "is in the list already"),
            (&["add", "etherium", "b", url], 1, "did you mean `ethereum`?"),
            (&["edit", "ethereum", "a", "--url", "ftp://a"], 1, "was not edited: url"),
            (&["edit", "ethereum", "a"], 2, "nothing to change"),
            (&["edit", "ethereum", "nobody", "--weight", "2"], 1, "there is no node nobody"),
            (&["remove", "ethereum", "leader"], 1, "the configuration names it as the leader"),
            (&["remove", "ethereum", "a"], 1, "it is the last healthy node of ethereum"),
            (&["cordon", "ethereum", "a"], 1, "add --force if that is meant"),
            (&["drain", "ethereum", "a"], 1, "add --force if that is meant"),
            (&["cordon", "ethereum", "a", "--for", "soon"], 2, "soon"),
            (&["add", "Ethereum!", "b", url], 2, "Ethereum!"),
            (&["add", "ethereum", "b;", url], 2, "b;"),
            // Right, and only tried.
            (&["add", "ethereum", "b", url, "--dry-run"], 0, "would be added: ethereum/b"),
            (&["edit", "ethereum", "a", "--weight", "3", "--dry-run"], 0, "would be edited: ethereum/a"),
            (&["cordon", "ethereum", "a", "--force", "--dry-run"], 0, "would be cordoned: ethereum/a"),
            (&["drain", "ethereum", "a", "--force", "--dry-run"], 0, "would be drained: ethereum/a"),
            (&["remove", "ethereum", "a", "--force", "--dry-run"], 0, "would be removed: ethereum/a"),
            (&["uncordon", "ethereum", "a", "--dry-run"], 0, "is not cordoned"),
        ] {
            rig.run(&[&["node"], args].concat()).await.exits(code).says(words);
        }
        assert_eq!(shape(&list().await), before);
        assert_eq!(rig.published(), live, "nothing was published");
        assert_eq!(rig.status().await.code, 0);

        rig.run(&["node", "cordon", "ethereum", "a", "--force"]).await.exits(0);
        assert_eq!(rig.endpoint().await, "leader");
        rig.run(&["node", "uncordon", "ethereum", "a"]).await.exits(0);
        assert_eq!(rig.endpoint().await, "a");
        // A cordon that ends by itself.
        rig.run(&["node", "cordon", "ethereum", "a", "--force", "--for", "2s"]).await.exits(0);
        rig.until_all_serve(["a"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_drained_node_has_no_request_left() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::new(kind, &leader);
        for (from, to) in BRIEF {
            rig.configure(from, to);
        }
        for (name, node) in [("a", &a), ("b", &b)] {
            rig.run(&["node", "add", "ethereum", name, &node.url()]).await.exits(0);
        }
        rig.up();
        rig.until_all_serve(["a", "b"]).await;
        let load = Load::start(rig.port, 2);
        load.until_answered_by(&["a", "b"]).await;

        let began = Instant::now();
        let done = rig.run(&["node", "drain", "ethereum", "a", "--why", "upgrade"]).await.exits(0);
        let took = began.elapsed();
        println!("{kind}: drained in {took:?}");
        let done = done.says("those on their way last 6s at most").says("ethereum/a is drained");
        assert_eq!(done.err, "");
        assert!(took >= Duration::from_secs(6) && took < Duration::from_secs(6) + SECONDS, "{kind}: {took:?}");
        let drained = Instant::now();
        reads(&rig, 20).await;
        assert_eq!(a.calls(READ), 0, "{kind}");
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
        assert!(!tried.iter().any(|one| one.at > drained && one.outcome.as_deref() == Ok("a")), "{kind}");
        assert_eq!(rig.status().await.node("a")["cordon"]["why"], "upgrade");

        // Without a running `up` there is nothing to wait for, and it says so.
        rig.stop_up().await;
        rig.run(&["node", "uncordon", "ethereum", "a"]).await.exits(0);
        rig.run(&["node", "drain", "ethereum", "a"]).await.exits(1).says("`nodeweir up` does not run");
    })
    .await;
}

#[tokio::test]
async fn two_operators_at_the_same_moment_do_not_overwrite_each_other() {
    with_one(async |kind| {
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let weights: Vec<String> = (2..8).map(|weight| weight.to_string()).collect();
        let edit = |weight: &String| {
            let command = rig.command(&["node", "edit", "ethereum", "a", "--weight", weight, "--json"]);
            crate::rig::run(command)
        };
        let done = futures_util::future::join_all(weights.iter().map(edit)).await;
        let won: Vec<&str> =
            done.iter().zip(&weights).filter(|(done, _)| done.code == 0).map(|(_, w)| w.as_str()).collect();
        assert!(!won.is_empty(), "{done:?}");
        for lost in done.iter().filter(|done| done.code != 0) {
            let error = lost.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains("changed by somebody else at the same moment"), "{error}");
        }
        let listed = until("the last edit is live", async || {
            let status = rig.status().await;
            status.live().map(|_| status.node("a")["weight"].to_string())
        })
        .await;
        assert!(won.contains(&listed.as_str()), "{listed} was refused; {won:?} were not");
    })
    .await;
}
