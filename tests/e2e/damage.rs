//! Files of the state are lost, changed or replaced.

use std::fs;

use crate::both::{with_both, with_one};
use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::Rig;
use crate::status::Status;

#[tokio::test]
async fn what_is_published_is_put_right_when_somebody_touches_it() {
    with_both(async |kind| {
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let load = Load::start(rig.port, 2);
        let file = rig.state("published/revision.conf");
        let body = |text: &str| text.split_once("# ----\n").map(|(_, body)| body.to_owned());
        let right = body(&rig.published()).expect("a body");
        for what in ["deleted", "changed by hand", "cut off", "emptied", "somebody else's"] {
            let before = rig.status().await.live().expect("live").to_owned();
            let text = rig.published();
            match what {
                "deleted" => fs::remove_file(&file),
                "changed by hand" => fs::write(&file, text.replace(&format!(":{}", a.port), ":1")),
                "cut off" => fs::write(&file, &text[..text.len() / 2]),
                "emptied" => fs::write(&file, ""),
                _ => fs::write(&file, "events {}\n"),
            }
            .unwrap();
            let put_right = |status: &Status| status.live().is_some_and(|live| live != before);
            let (status, took) = rig.until_status(what, put_right).await;
            println!("{kind}: {what}: put right in {took:?}");
            assert_eq!(body(&rig.published()).as_ref(), Some(&right), "{kind}: {what}");
            let reason = status.value["published"]["reason"].as_str().unwrap();
            assert_eq!(reason, "the published file is missing, cut off or was changed by hand", "{kind}: {what}");
            assert_eq!(status.code, 0, "{kind}: {what}: {:?}", status.problems());
        }
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
    })
    .await;
}

#[tokio::test]
async fn without_its_state_it_serves_what_ran_last() {
    with_both(async |kind| {
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let live = rig.status().await.live().unwrap().to_owned();
        rig.stop_up().await;
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(rig.state(name));
        }
        fs::write(rig.state("state.db"), "garbage ".repeat(1000)).unwrap();

        rig.up();
        let serves = async || rig.call().await.ok().filter(|answer| answer.endpoint() == "a").map(drop);
        until("the last good revision is served", serves).await;
        let said = async || rig.said().contains("the state cannot be used").then_some(());
        until("it is said", said).await;
        assert!(rig.said().contains("serving the last good revision"), "{kind}");
        // Commands say so too, instead of making it worse.
        let done = rig.run(&["status"]).await.exits(1);
        println!("{kind}: {}", done.err.trim());
        assert!(done.err.contains("state.db"), "{done:?}");
        rig.run(&["node", "list", "--json"]).await.exits(1).says("\"error\"");

        // Without the file it starts anew. The node list is lost with it, and what is published speaks of a node that
        // nobody lists: the leader serves.
        fs::remove_file(rig.state("state.db")).unwrap();
        let is_alone = |status: &Status| status.network("ethereum")["source"] == "leader";
        let (status, _) = rig.until_status("it recovers", |status| status.live().is_some() && is_alone(status)).await;
        let seq = |name: &str| name.split('-').next().unwrap().parse::<u64>().unwrap();
        assert!(seq(status.live().unwrap()) > seq(&live), "{kind}: numbers go on");
        assert_eq!(rig.endpoint().await, "leader");
        rig.run(&["node", "add", "ethereum", "a", &a.url()]).await.exits(0).says("it serves");
        assert_eq!((rig.endpoint().await.as_str(), rig.status().await.code), ("a", 0));
    })
    .await;
}

#[tokio::test]
async fn a_state_of_a_newer_program_is_left_alone() {
    with_one(async |kind| {
        let leader = Anvil::start().await;
        let mut rig = Rig::new(kind, &leader);
        rig.up();
        rig.until_status("it runs", |status| status.live().is_some()).await;
        rig.stop_up().await;
        let database = rusqlite::Connection::open(rig.state("state.db")).unwrap();
        database.pragma_update(None, "user_version", 99).unwrap();
        drop(database);
        rig.run(&["up"]).await.exits(1).says("newer");
        rig.run(&["status"]).await.exits(1).says("newer");
        assert_eq!(rig.proxy.all(), Vec::<i32>::new(), "it leaves nothing behind");
    })
    .await;
}
