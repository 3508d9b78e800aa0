//! Edits of the node list, and rollbacks.

use nodeweir_emulator::On;
use nodeweir_store::{FleetStore as _, Written};
use serde_json::json;

use super::world::{OPERATOR, World, url};

#[tokio::test]
async fn an_edit_is_followed_until_it_is_published() {
    let world = World::deployed().await;
    world.run(&["node", "add", "ethereum", "a", &url("a"), "--dry-run"]).await.exits(0).says("would be added");
    assert!(world.store.items().await.unwrap().is_empty());

    let done = world.kept(&["node", "add", "ethereum", "a", &url("a")]).await.exits(0);
    done.says("ethereum/a added; it is healthy; it is published to serve");
    assert!(world.serves("a").await);
    let done = world.kept(&["node", "add", "ethereum", "b", &url("b"), "--weight", "3", "--json"]).await.exits(0);
    assert_eq!((&done.json()["live"], &done.json()["state"]), (&json!(true), &json!("healthy")));

    world.dead.lock().unwrap().insert("c".to_owned());
    let done = world.kept(&["node", "add", "ethereum", "c", &url("c")]).await.exits(1);
    done.says("it is unhealthy: ").says("it gets no traffic until it is healthy");
    assert!(!world.serves("c").await);

    world.run(&["node", "add", "ethereum", "a", &url("a")]).await.exits(1).says("`nodeweir --stage dev node edit`");
    let before = world.store.items().await.unwrap();
    for (args, why) in [
        (vec!["node", "edit", "ethereum", "a", "--url", "ftp://a"], "ethereum/a was not edited: "),
        (vec!["node", "edit", "ethereum", "a", "--weight", "0"], "ethereum/a was not edited: "),
        (vec!["node", "add", "ethereum", "d", "http://d", "--role", "leader"], "ethereum/d was not added: "),
        (vec!["node", "edit", "ethereum", "nobody", "--weight", "2"], "`nodeweir --stage dev node list`"),
        (vec!["node", "add", "etherium", "a", "http://a"], "not added"),
    ] {
        world.run(&args).await.exits(1).says(why);
    }
    assert_eq!(world.store.items().await.unwrap(), before, "a bad edit changed something");
    world.run(&["node", "edit", "ethereum", "b", "--weight", "3"]).await.exits(2).says("nothing to change");

    let listed = world.run(&["node", "list"]).await.exits(0);
    listed.says("http://a.example.com:8545").says("leader");
    let listed = world.run(&["node", "list", "ethereum", "--json"]).await.exits(0).json();
    let named: Vec<_> = listed["networks"][0]["nodes"].as_array().unwrap().iter().map(|node| &node["node"]).collect();
    assert_eq!(named, ["a", "b", "c", "leader"]);
}

#[tokio::test]
async fn a_node_is_taken_away_and_comes_back() {
    let world = World::serving().await;
    let done = world.kept(&["node", "cordon", "ethereum", "a", "--why", "disk"]).await.exits(0);
    done.says("ethereum/a cordoned; it is out of what is published");
    assert!(!world.serves("a").await);
    world.run(&["status"]).await.says("cordoned by olga: disk");
    world.run(&["node", "cordon", "ethereum", "b"]).await.exits(1).says("it is the last healthy node");
    world.kept(&["node", "uncordon", "ethereum", "a"]).await.exits(0).says("it is published to serve");
    assert!(world.serves("a").await);
    world.kept(&["node", "remove", "ethereum", "b"]).await.exits(0).says("out of what is published");
    let leader = world.run(&["node", "remove", "ethereum", "leader"]).await.exits(1);
    leader.says("`nodeweir --stage dev node cordon` it");
}

/// Somebody else's edit comes between what the program read and what it writes.
#[tokio::test]
async fn of_two_edits_at_once_none_is_lost() {
    let world = World::serving().await;
    let held = world.aws.hold(On::call("dynamodb", "UpdateItem").by(OPERATOR));
    let slow = async { world.run(&["node", "edit", "ethereum", "a", "--weight", "5"]).await };
    let other = async {
        held.arrived(1).await;
        let before = world.store.items().await.unwrap().into_iter().find(|item| item.node == "a").unwrap();
        let mut after = before.clone();
        after.attributes.insert("note".to_owned(), json!("moved"));
        let written = world.store.put_item(Some(&before), &after).await.unwrap();
        assert_eq!(written, Written::Done);
        held.release();
        after
    };
    let (done, after) = tokio::join!(slow, other);
    done.exits(1).says("changed by somebody else at the same moment").says("`nodeweir --stage dev node list`");
    assert!(world.store.items().await.unwrap().contains(&after));
}

#[tokio::test]
async fn what_the_functions_do_not_take_up_is_said() {
    let world = World::serving().await;
    let late = "that is not published after 1s; see `nodeweir --stage dev status` and the log of function publish";
    let cordoned = world.run(&["node", "cordon", "ethereum", "a", "--wait", "1s"]).await.exits(0);
    cordoned.says("ethereum/a cordoned; ").says(late);
    let added = world.run(&["node", "add", "ethereum", "c", &url("c"), "--wait", "1s"]).await.exits(0);
    added.says("it is unknown: not probed yet").says(late);
    let added = world.run(&["node", "add", "ethereum", "d", &url("d"), "--wait", "0s", "--json"]).await.exits(0);
    assert_eq!(added.json()["live"], false);
    let drained = world.run(&["node", "drain", "ethereum", "a", "--wait", "1s"]).await.exits(1);
    drained.says("ethereum/a is cordoned, but the proxy did not take it up in 1s; see `nodeweir --stage dev status`");
}

#[tokio::test]
async fn history_tells_what_was_and_a_rollback_brings_it_back() {
    let world = World::serving().await;
    let revisions = world.run(&["history", "--json"]).await.exits(0).json();
    let with = |words: &str| {
        let found = revisions.as_array().unwrap().iter().find(|one| one["reason"].as_str().unwrap().contains(words));
        found.unwrap_or_else(|| panic!("{words}: {revisions}"))["seq"].to_string()
    };
    let only_a = with("a joined");
    world.run(&["history", &only_a]).await.exits(0).says("a.example.com");
    world.run(&["history", "999"]).await.exits(1).says("`nodeweir --stage dev history` lists");
    let events = world.run(&["history", "--events", "--limit", "100"]).await.exits(0);
    events.says("olga").says("added: ").says("publish");

    world.run(&["rollback", "999"]).await.exits(1).says("there is no revision 999");
    world.run(&["rollback", &only_a, "--dry-run"]).await.exits(0).says("would do: rollback");
    let done = world.run(&["rollback", &only_a, "--why", "b is odd"]).await.exits(0);
    done.says("`nodeweir --stage dev rollback --release`");
    world.tick().await;
    assert!(world.serves("a").await && !world.serves("b").await);
    let status = world.status().await;
    assert_eq!(status.code, 1);
    assert!(status.says("rolled back to revision") && status.says("`nodeweir --stage dev rollback --release`"));
    world.run(&["rollback", "--release"]).await.exits(0).says("released");
    world.tick().await;
    assert!(world.serves("b").await);
    assert_eq!(world.status().await.code, 0);
}

#[tokio::test]
async fn a_plan_says_what_would_be_published() {
    let world = World::serving().await;
    world.run(&["plan"]).await.exits(0).says("nothing to do");
    world.dead.lock().unwrap().insert("b".to_owned());
    let down = async { world.run(&["plan", "--json"]).await.exits(0).json() };
    assert_eq!(down.await["step"], "nothing", "nobody has seen it yet");
    let scope = nodeweir_control::probe::Scope::All;
    let now = jiff::Timestamp::now();
    nodeweir_control::probe::run(&world.store, &world, &world.config, &scope, now).await.unwrap();
    let before = world.published().await;
    world.run(&["plan"]).await.exits(0).says("would publish: ").says("b.example.com");
    assert_eq!(world.published().await, before, "a plan changed something");
}
