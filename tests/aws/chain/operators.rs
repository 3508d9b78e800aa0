//! What people do to a stage by hand, rightly or wrongly.

use serde_json::{Value, json};

use crate::carrier::{Carrier, metrics, run};
use crate::chain::PROMPT;
use crate::nodes::Anvil;
use crate::template::{config, network};
use crate::world::World;

fn item(node: &str, attributes: &Value) -> Value {
    let mut item = json!({"network": {"S": "ethereum"}, "node": {"S": node}});
    for (name, value) in attributes.as_object().unwrap() {
        item[name] = value.clone();
    }
    item
}

#[tokio::test]
async fn a_wrong_item_is_reported_and_the_rest_works() {
    let (leader, a) = tokio::join!(Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    // The leader of the configuration stands there already.
    run(&world, &world.probe).await.unwrap();
    world.add("ethereum", "a", a.port).await;
    for (node, attributes) in [
        ("no-url", json!({"weight": {"N": "1"}})),
        ("wrong-type", json!({"url": {"SS": ["http://10.0.0.1:8545"]}})),
        ("unknown-key", json!({"url": {"S": "http://10.0.0.1:8545"}, "wieght": {"N": "2"}})),
        ("other-leader", json!({"url": {"S": "http://10.0.0.1:8545"}, "role": {"S": "leader"}})),
    ] {
        world.write(item(node, &attributes)).await;
    }
    world.write(json!({"network": {"S": "etherium"}, "node": {"S": "b"}, "url": {"S": "http://10.0.0.1:8545"}})).await;
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a"]);
    assert_eq!(metrics(&world.probe, 0)["RejectedItems"], 5);
    let lines = world.probe.json_lines();
    for (node, why) in [
        ("no-url", "`url` is missing"),
        ("wrong-type", "url: expected a text, found a mapping of keys"),
        ("unknown-key", "unknown key `wieght`; did you mean `weight`?"),
        ("other-leader", "leader"),
        ("b", "did you mean `ethereum`?"),
    ] {
        let told = lines
            .iter()
            .any(|line| line["node"] == node && line["why"].as_str().is_some_and(|said| said.contains(why)));
        assert!(told, "{node}: {why}");
    }
}

#[tokio::test]
async fn an_object_changed_or_removed_by_hand_is_put_right() {
    let (leader, a) = tokio::join!(Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    world.add("ethereum", "a", a.port).await;
    carrier.settle(&world).await;
    let path = format!("/{}/revision.conf", world.outputs["Bucket"]);
    for (method, body) in [("PUT", "events {}"), ("DELETE", "")] {
        world.client.send("s3", method, &path, &[], body).await.unwrap();
        assert_eq!(run(&world, &world.publish).await.unwrap()["published"], true);
        assert_eq!(world.serving("ethereum").await, ["a"]);
        carrier.settle(&world).await;
        assert_eq!(run(&world, &world.rollout).await.unwrap()["outcome"], "current");
    }
}

#[tokio::test]
async fn a_rollback_is_published_at_once_and_seen() {
    let (leader, a, b) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    world.add("ethereum", "a", a.port).await;
    carrier.settle(&world).await;
    let (_, text) = world.published().await.unwrap();
    let earlier = nodeweir_domain::fleet::revision::Revision::parse(&text).unwrap();
    world.add("ethereum", "b", b.port).await;
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a", "b"]);
    let now = jiff::Timestamp::now();
    let pin = json!({"revision": earlier.seq, "rosters": earlier.rosters, "by": "me", "why": "", "at": now,
        "until": now + std::time::Duration::from_secs(3600)});
    let row = json!({"kind": {"S": "pin"}, "id": {"S": "pin"}, "value": {"S": pin.to_string()}});
    let body = json!({"TableName": world.outputs["HistoryTable"], "Item": row});
    world.json("dynamodb", "DynamoDB_20120810.PutItem", &body).await;
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a"]);
    assert_eq!(metrics(&world.publish, 0)["Pinned"], 1);
}

/// What was deployed stays: neither the list, nor what is published, nor how many tasks run is the template's business.
#[tokio::test]
async fn a_second_deployment_of_the_stack_takes_nothing_back() {
    let (leader, a) = tokio::join!(Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    world.add("ethereum", "a", a.port).await;
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    // Somebody has scaled it to nothing, which is no reason to fail either.
    let (cluster, service) = (&world.outputs["Cluster"], &world.outputs["Service"]);
    let body = json!({"cluster": cluster, "service": service, "desiredCount": 0});
    world.json("ecs", "AmazonEC2ContainerServiceV20141113.UpdateService", &body).await;
    let before = (world.published().await, world.rows("NodesTable").await.len(), world.status("ethereum", "a").await);
    world.deploy_again().await;
    assert_eq!(
        (world.published().await, world.rows("NodesTable").await.len(), world.status("ethereum", "a").await),
        before
    );
    let body = json!({"cluster": cluster, "services": [service]});
    let told = world.json("ecs", "AmazonEC2ContainerServiceV20141113.DescribeServices", &body).await;
    assert_eq!(told["services"][0]["desiredCount"], 0, "{told}");
    for function in [&world.probe, &world.publish, &world.rollout] {
        run(&world, function).await.unwrap();
    }
    assert_eq!(world.serving("ethereum").await, ["a"]);
}
