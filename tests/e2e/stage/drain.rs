//! Draining a node.

use nodeweir_emulator::{Fault, On};

use super::world::World;

/// Makes ECS say this of the service's deployment.
fn rollout_state(state: &'static str) -> Fault {
    Fault::changed(move |told| told["services"][0]["deployments"][0]["rolloutState"] = state.into())
}

/// What is published without the node is not enough: tasks may still run what was before.
#[tokio::test]
async fn a_drain_waits_for_the_deployment_without_the_node() {
    let world = World::serving().await;
    world.aws.fault(On::call("ecs", "DescribeServices"), rollout_state("IN_PROGRESS"));
    let drain = world.kept(&["node", "drain", "ethereum", "a"]);
    let deploy = async {
        crate::process::until("it is out of what is published", async || (!world.serves("a").await).then_some(()))
            .await;
        let looks = || world.aws.count(&On::call("ecs", "DescribeServices").by(super::world::OPERATOR));
        let before = looks();
        crate::process::until("the operator has looked", async || (looks() > before + 1).then_some(())).await;
        world.aws.heal();
    };
    let (done, ()) = tokio::join!(drain, deploy);
    done.exits(0).says("waiting for a deployment without it").says("ethereum/a is drained");
}

#[tokio::test]
async fn where_tasks_only_reload_a_drain_waits_for_what_is_published() {
    let world = World::with("mode: reload").await;
    for name in ["a", "b"] {
        world.kept(&["node", "add", "ethereum", name, &super::world::url(name)]).await.exits(0);
    }
    let done = world.kept(&["node", "drain", "ethereum", "a", "--json"]).await.exits(0);
    assert_eq!(done.json()["drained"], true);
    assert!(!world.serves("a").await);
}
