//! What `status` tells of a stage.

use nodeweir_domain::fleet::node::Item;
use nodeweir_emulator::{Answer, Fault, On};
use nodeweir_store::{FleetStore as _, Written};
use serde_json::json;

use super::world::World;

fn services() -> On {
    On::call("ecs", "DescribeServices")
}

#[tokio::test]
async fn a_fleet_that_is_well_is_fine() {
    let world = World::serving().await;
    let done = world.run(&["status"]).await.exits(0);
    let live = format!("revision {} is live since", world.published().await.name());
    done.says("https://rpc.example.com/ethereum/v3").says(&live).says("all is well");
    let status = world.status().await;
    assert_eq!((status.code, status.live().is_some()), (0, true), "{status:?}");
    let value = &status.value;
    assert_eq!(
        (&value["stage"], &value["addresses"]),
        (&json!("dev"), &json!(["https://rpc.example.com/ethereum/v3"]))
    );
    assert_eq!(value["runtime"]["in_progress"], false);
    assert!(status.serves("a") && status.is_healthy("leader"));
}

#[tokio::test]
async fn before_anything_ran_that_is_said() {
    let world = World::deployed().await;
    let status = world.status().await;
    assert_eq!((status.code, &status.value["is_up"]), (1, &json!(false)));
    assert!(status.says("nothing was probed yet") && status.says("/nodeweir/dev/probe"), "{:?}", status.problems());
    assert!(status.says("nothing is published yet") && status.says("/nodeweir/dev/publish"));
    assert!(!status.says("nodeweir up"));
}

#[tokio::test]
async fn an_unhealthy_node_and_a_bad_item_are_problems() {
    let world = World::serving().await;
    world.dead.lock().unwrap().insert("b".to_owned());
    let item = Item {
        network: "ethereum".to_owned(),
        node: "typo".to_owned(),
        attributes: json!({"ulr": "http://typo"}).as_object().unwrap().clone(),
    };
    assert_eq!(world.store.put_item(None, &item).await.unwrap(), Written::Done);
    world.tick().await;
    world.roll_out().await;
    let status = world.status().await;
    assert_eq!(status.code, 1);
    assert!(status.says("ethereum/b is unhealthy"), "{:?}", status.problems());
    assert!(status.says("ethereum/typo is not usable: "));
    world.run(&["node", "list"]).await.exits(0).says("ethereum/typo is not usable: ");
}

/// That a deployment is under way is told, and no reason to worry.
#[tokio::test]
async fn a_deployment_on_its_way_degrades_nothing() {
    let world = World::serving().await;
    let state = |state: &'static str| {
        Fault::changed(move |told| {
            let deployment = &mut told["services"][0]["deployments"][0];
            deployment["rolloutState"] = state.into();
            deployment["rolloutStateReason"] = "tasks failed to start.".into();
        })
    };
    world.aws.fault(services(), state("IN_PROGRESS"));
    let name = world.published().await.name();
    let status = world.status().await;
    assert_eq!(status.code, 0, "{status:?}");
    assert_eq!(status.value["notes"], json!([format!("revision {name} is published; a deployment is in progress")]));
    world.run(&["status"]).await.exits(0).says("a deployment is in progress").says("all is well");

    world.aws.heal();
    world.aws.fault(services(), state("FAILED"));
    let status = world.status().await;
    assert_eq!(status.code, 1);
    assert!(status.says(&format!("revision {name}: deployment")), "{:?}", status.problems());
    assert!(status.says("tasks failed to start") && status.says("what ran before runs on"));
}

#[tokio::test]
async fn a_service_without_tasks_is_a_problem_though_all_nodes_are_well() {
    let world = World::serving().await;
    let none = Fault::changed(|told| told["services"][0]["desiredCount"] = 0.into());
    world.aws.fault(services(), none);
    world.run(&["status"]).await.exits(1).says("the ECS service is scaled to 0");
    assert_eq!(world.status().await.value["runtime"]["tasks_wanted"], 0);
}

#[tokio::test]
async fn a_revision_that_waits_says_for_what() {
    let world = World::with("mode: redeploy, min_interval: 1h").await;
    world.tick().await;
    assert_eq!(world.status().await.value["notes"], json!(null), "the first one is live");
    world.kept(&["node", "add", "ethereum", "a", "http://a.example.com"]).await.exits(0);
    let status = world.status().await;
    assert_eq!(status.code, 0, "{status:?}");
    let note = status.value["notes"][0].as_str().unwrap();
    assert!(
        note.contains("waits for its deployment, which begins in 59m") && note.contains("rollout.min_interval"),
        "{note}"
    );
}

#[tokio::test]
async fn where_tasks_only_reload_nothing_is_said_of_what_runs() {
    let world = World::with("mode: reload").await;
    world.tick().await;
    world.aws.forget();
    let status = world.status().await;
    assert_eq!((status.code, &status.value["runtime"]), (0, &json!(null)), "{status:?}");
    assert_eq!(world.aws.count(&services()), 0);
    world.run(&["status"]).await.exits(0).says("is published (");
}

/// One service that cannot be asked hides nothing of the others.
#[tokio::test]
async fn what_ecs_does_not_tell_is_a_problem_among_others() {
    let world = World::serving().await;
    world.aws.fault(services(), Fault::Instead(Answer::error(400, "AccessDeniedException")));
    let status = world.status().await;
    assert_eq!(status.code, 1);
    assert!(status.says("what runs is not known: asking for service proxy of ECS cluster main: AccessDeniedException"));
    assert!(status.says("have it granted") && status.serves("a"), "{:?}", status.problems());
}
