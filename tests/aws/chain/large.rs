//! Many nodes.

use std::time::Duration;

use nodeweir_emulator::{Moto, On, Quota, Setting};
use serde_json::{Value, json};

use crate::carrier::{metrics, run};
use crate::nodes::{Anvil, HEAD};
use crate::template::{config, network};
use crate::world::{World, head};

/// Items for nodes that are all one server, each at an address of its own, for two nodes at one would be a typo.
fn items(nodes: usize, port: u16) -> Vec<Value> {
    let item = |index: usize| {
        let url = format!("http://127.1.{}.{}:{port}", index / 250, index % 250 + 1);
        json!({"network": {"S": "ethereum"}, "node": {"S": format!("node-{index:04}")}, "url": {"S": url}})
    };
    (0..nodes).map(item).collect()
}

async fn fill(world: &World, items: Vec<Value>) {
    for items in items.chunks(25) {
        let puts: Vec<Value> = items.iter().map(|item| json!({"PutRequest": {"Item": item}})).collect();
        let body = json!({"RequestItems": {&world.outputs["NodesTable"]: puts}});
        world.json("dynamodb", "DynamoDB_20120810.BatchWriteItem", &body).await;
    }
}

/// Ticks until all of them serve: a busy machine may be too slow for some of them at first.
async fn serve_all(world: &World, nodes: usize) {
    while world.serving("ethereum").await.len() < nodes {
        run(world, &world.probe).await.unwrap();
        run(world, &world.publish).await.unwrap();
    }
}

/// The first tick over a list that somebody filled writes a status for each node, which the emulator does too slowly for
/// the function's time: here it has more, and an emulator of its own.
#[tokio::test]
async fn a_table_of_five_thousand_nodes_is_served() {
    const NODES: usize = 5_000;
    let (leader, port) = tokio::join!(Anvil::start(), head(HEAD));
    let patient = "health: {timeout: 10s, confirm_after: 200ms}\nrollout: {min_interval: 0s}";
    let text = config(&network("ethereum", leader.port), patient);
    let moto = Moto::start();
    let world = World::deploy_with(&moto, &text, |setting| setting.timeout = Duration::from_secs(300)).await;
    fill(&world, items(NODES, port)).await;
    serve_all(&world, NODES).await;

    // A busy machine may be late for some, which is news.
    let mut lines;
    loop {
        world.aws.forget();
        lines = world.probe.json_lines().len();
        if run(&world, &world.probe).await.unwrap()["flips"] == 0 {
            break;
        }
    }
    let writes = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"];
    let writes = writes.map(|write| world.aws.count(&On::call("dynamodb", write)));
    assert_eq!(writes, [1, 0, 0, 0], "a tick without news is one write");
    let of_nodes = metrics(&world.probe, lines).into_keys().filter(|name| name.ends_with("/Healthy"));
    assert_eq!(of_nodes.count(), 20);
}

/// With 7 % of a processor, answers come in time and are read late.
#[tokio::test]
async fn a_function_without_processor_time_flips_nobody() {
    const NODES: usize = 600;
    let quota = match Quota::of_memory(128) {
        Ok(quota) => quota,
        Err(why) => return println!("skipped: {why}"),
    };
    let (leader, port) = tokio::join!(Anvil::start(), head(HEAD));
    let hasty = "health: {timeout: 500ms, confirm_after: 200ms}";
    let moto = Moto::start();
    let world = World::deploy_with(&moto, &config(&network("ethereum", leader.port), hasty), |_| {}).await;
    fill(&world, items(NODES, port)).await;
    serve_all(&world, NODES).await;

    let starve = |setting: &mut Setting| {
        setting.quota = Some(quota);
        setting.timeout = Duration::from_secs(300);
    };
    let starved = world.twin("ProbeFunction", starve).await;
    for _ in 0..3 {
        let outcome = run(&world, &starved).await.unwrap();
        assert_eq!(outcome["flips"], 0, "{:?}", starved.lines());
    }
    // It says so, and to how many nodes it happened.
    let unseen: u64 = starved.json_lines().iter().filter_map(|line| line["nodes"].as_u64()).sum();
    assert!(unseen > 0, "it had time enough: {:?}", starved.lines());
}
