//! Who is healthy, and in which words it is said when somebody is not.

use serde_json::Value;

use crate::both::with_both;
use crate::nodes::{Anvil, CHAIN, HEAD};
use crate::rig::Rig;

#[tokio::test]
async fn ten_blocks_behind_serve_and_eleven_do_not() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a), ("b", &b)]).await;
        b.mine(11).await;
        leader.mine(10).await;
        let (status, _) = rig.until_status("`a` is 10 behind", |status| status.node("a")["lag"] == 10).await;
        assert!(status.is_healthy("a") && status.serves("a"), "{kind}: {status:?}");
        assert_eq!(status.code, 0);

        leader.mine(1).await;
        let (status, took) = rig.until_all_serve(["b"]).await;
        println!("{kind}: out of the roster {took:?} after it had fallen too far behind");
        assert_eq!(status.why("a"), "11 blocks behind, 10 allowed");
        assert_eq!(status.node("a")["lag"], 11);
        assert_eq!(status.code, 1);
        for _ in 0..10 {
            assert_eq!(rig.endpoint().await, "b", "{kind}");
        }
        let history = rig.run(&["history", "--json"]).await.exits(0).json();
        assert_eq!(history[0]["reason"], "ethereum: a left (11 blocks behind, 10 allowed)", "{kind}");

        // One good probe is not enough, two are. Between them lies a second, in which a slow machine may not look.
        let mut tries = 0;
        let once = loop {
            a.mine(1).await;
            let (once, _) = rig.until_status("`a` is 10 behind again", |status| status.node("a")["lag"] == 10).await;
            if !once.serves("a") {
                break once;
            }
            tries += 1;
            assert!(tries < 10, "{kind}: back after one good probe, {tries} times");
            leader.mine(1).await;
            rig.until_all_serve(["b"]).await;
        };
        let (twice, took) = rig.until_all_serve(["a", "b"]).await;
        println!("{kind}: back in the roster {took:?} after its first good probe");
        let tick = |status: &crate::status::Status| status.network("ethereum")["last_tick"].clone();
        assert_ne!(tick(&once), tick(&twice), "{kind}: a tick lies between");
        rig.until_all_is_well(["a", "b"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_node_of_another_chain_never_serves() {
    with_both(async |kind| {
        let (leader, a, other) = (Anvil::start().await, Anvil::start().await, Anvil::start_at(CHAIN + 1, HEAD).await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let before = rig.status().await;
        let reason = "chain id is 1338, the network's is 1337";
        rig.run(&["node", "add", "ethereum", "other", &other.url()]).await.exits(1).says(reason).says("no traffic");
        let status = rig.status().await;
        assert_eq!((status.code, status.why("other").as_str()), (1, reason));
        assert_eq!(status.node("other")["serves"], Value::Null);
        // Not even in a revision that something else makes.
        rig.run(&["node", "edit", "ethereum", "a", "--weight", "7"]).await.exits(0);
        let after = rig.status().await;
        assert_ne!(before.live(), after.live());
        assert!(!rig.published().contains(&other.port.to_string()), "{kind}");
        assert_eq!(rig.run(&["probe", &other.url(), "--json"]).await.exits(0).json()["chain_id"], 1338);
    })
    .await;
}

#[tokio::test]
async fn with_the_leader_silent_a_liar_is_found() {
    with_both(async |kind| {
        let (mut leader, honest, liar) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("honest", &honest), ("liar", &liar)]).await;
        leader.kill();
        rig.until_status("the leader is missed", |status| status.why("leader") == "connection refused").await;
        liar.mine(150).await;
        let (status, _) = rig.until_all_serve(["honest"]).await;
        assert_eq!(status.why("liar"), "150 blocks ahead of everyone else, and nobody seconds it");
        assert!(status.is_healthy("honest"), "{status:?}");
        for _ in 0..10 {
            assert_eq!(rig.endpoint().await, "honest", "{kind}");
        }
        leader.revive().await;
        let (status, _) = rig.until_status("the leader is back", |status| status.is_healthy("leader")).await;
        assert!(status.serves("honest") && !status.serves("liar"), "{kind}: {status:?}");
    })
    .await;
}
