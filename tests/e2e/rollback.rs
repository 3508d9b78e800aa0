//! An earlier revision's nodes, for a while.

use serde_json::Value;

use crate::both::with_both;
use crate::nodes::Anvil;
use crate::rig::Rig;
use crate::status::Status;

/// Number of the newest revision whose reason has these words.
async fn revision(rig: &Rig, words: &str) -> String {
    let history = rig.run(&["history", "--json"]).await.exits(0).json();
    let found = history.as_array().unwrap().iter().find(|one| one["reason"].as_str().unwrap().contains(words));
    found.unwrap_or_else(|| panic!("no revision because of {words:?}: {history}"))["seq"].to_string()
}

#[tokio::test]
async fn a_rollback_holds_shows_and_ends() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let only_a = rig.status().await.live().unwrap().split('-').next().unwrap().to_owned();
        rig.run(&["node", "add", "ethereum", "b", &b.url()]).await.exits(0);
        let both = revision(&rig, "b joined").await;
        let pinned = |status: &Status| !status.value["pin"].is_null();

        rig.run(&["rollback", "999"]).await.exits(1).says("there is no revision 999");
        rig.run(&["rollback"]).await.exits(2);
        rig.run(&["rollback", &only_a, "--dry-run"]).await.exits(0).says("would do: rollback to revision");
        assert!(!pinned(&rig.status().await));

        rig.run(&["rollback", &only_a, "--for", "10m", "--why", "b is odd"]).await.exits(0).says("--release");
        let (status, took) = rig.until_all_serve(["a"]).await;
        println!("{kind}: rolled back in {took:?}");
        assert!(status.is_healthy("b"), "{status:?}");
        assert_eq!((status.code, pinned(&status)), (1, true));
        assert!(status.says(&format!("rolled back to revision {only_a} by operator")), "{:?}", status.problems());
        assert_eq!(rig.endpoint().await, "a");
        let history = rig.run(&["history", "--json"]).await.exits(0).json();
        let reason = history[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("rollback to revision {only_a} by operator (b is odd)")), "{reason}");

        rig.run(&["rollback", "--release"]).await.exits(0).says("released");
        let (status, _) = rig.until_all_serve(["a", "b"]).await;
        assert_eq!((status.code, pinned(&status)), (0, false));
        rig.run(&["rollback", "--release"]).await.exits(0).says("no rollback is in force");

        // It ends by itself, and not before a slow machine has seen it.
        rig.run(&["rollback", &only_a, "--for", "12s"]).await.exits(0);
        rig.until_all_serve(["a"]).await;
        let (status, _) = rig.until_all_serve(["a", "b"]).await;
        assert!(!pinned(&status));
        // And when a pinned node must not be called any more.
        rig.run(&["rollback", &both]).await.exits(0);
        rig.until_status("it is rolled back", |status| status.says("rolled back")).await;
        rig.run(&["node", "cordon", "ethereum", "b"]).await.exits(0).says("it gets no new requests");
        let (status, _) = rig.until_all_serve(["a"]).await;
        assert_eq!((status.code, pinned(&status)), (0, false), "{status:?}");
        let events = rig.run(&["history", "--events", "--json"]).await.exits(0).json();
        let said = |words: &str| {
            events
                .as_array()
                .unwrap()
                .iter()
                .any(|event| event["what"].as_str().is_some_and(|what| what.contains(words)))
        };
        assert!(said("rollback ended: ethereum: b is cordoned"), "{events}");
        rig.run(&["rollback", &both]).await.exits(1).says("cannot be rolled back to: ethereum: b is cordoned");
        assert_eq!(rig.status().await.value["pin"], Value::Null);
    })
    .await;
}
