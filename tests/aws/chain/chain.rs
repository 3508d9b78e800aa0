//! From a node to a deployment, and nothing more on the next tick.

use nodeweir_emulator::{Moto, On};
use serde_json::json;

use crate::carrier::{Carried, Carrier, metrics, run};
use crate::nodes::Anvil;
use crate::template::{config, network};
use crate::world::World;

/// Deployments follow each other at once, and a failure of all nodes is believed soon.
pub(crate) const PROMPT: &str = "health: {confirm_after: 200ms}\nrollout: {min_interval: 0s}";

fn quiet() -> Carried {
    Carried::default()
}

#[tokio::test]
async fn a_node_that_dies_is_out_and_the_next_tick_does_nothing() {
    let (leader, mut a, b) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;

    // Nothing has run yet, and that is no fault.
    assert_eq!(run(&world, &world.rollout).await.unwrap()["outcome"], "nothing is published yet");

    // An empty list: the leader of the configuration is written down, and serves.
    run(&world, &world.probe).await.unwrap();
    let first = carrier.settle(&world).await;
    assert!(first.publishes >= 1 && first.rollouts >= 1, "{first:?}");
    assert_eq!(world.rows("NodesTable").await.len(), 1);
    assert_eq!(world.serving("ethereum").await, ["infura"]);
    assert!(world.published().await.unwrap().1.contains(&format!("127.0.0.1:{}", leader.port)));
    let seen = metrics(&world.probe, 0);
    assert_eq!((seen["ethereum/Nodes"], seen["ethereum/HealthyNodes"], seen["ethereum/FallbackActive"]), (0, 0, 1));
    assert_eq!((seen["ethereum/LeaderAnswers"], seen["ethereum/infura/Healthy"]), (1, 1));
    let deployment = world.deployment().await;

    // An edit is probed and published by the batch of the stream that tells of it.
    world.add("ethereum", "a", a.port).await;
    world.add("ethereum", "b", b.port).await;
    world.aws.forget();
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a", "b"]);
    assert_eq!(world.aws.count(&On::call("s3", "PutObject")), 1, "{:?}", world.aws.calls());
    assert_eq!(world.aws.count(&On::call("lambda", "Invoke")), 1);
    assert_ne!(world.deployment().await, deployment, "and rolled out");
    assert_eq!(world.status("ethereum", "a").await["state"], "healthy");

    // A tick without news: one write per network, and neither a bucket nor a service is asked.
    for _ in 0..2 {
        world.aws.forget();
        run(&world, &world.probe).await.unwrap();
        let writes = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];
        let writes = writes.map(|write| world.aws.count(&On::call("dynamodb", write)));
        assert_eq!(writes, [1, 0, 0, 0, 0]);
        assert_eq!(carrier.settle(&world).await, quiet());
        let elsewhere =
            ["s3", "ecs", "lambda"].map(|service| world.aws.count(&On::service(service).by(probe_name(&world))));
        assert_eq!(elsewhere, [0; 3]);
    }

    let deployment = world.deployment().await;
    let lines = world.probe.json_lines().len();
    a.kill();
    run(&world, &world.probe).await.unwrap();
    let status = world.status("ethereum", "a").await;
    assert_eq!((&status["state"], &status["reason"]), (&json!("unhealthy"), &json!({"failed": "refused"})));
    let seen = metrics(&world.probe, lines);
    assert_eq!((seen["ethereum/HealthyNodes"], seen["ethereum/a/Healthy"], seen["ethereum/b/Healthy"]), (1, 0, 1));
    assert_eq!((seen["probe/Succeeded"], seen["probe/Failed"]), (1, 0));
    let carried = carrier.settle(&world).await;
    assert_eq!(carried.publishes, 1, "one batch");
    assert_eq!(world.serving("ethereum").await, ["b"]);
    let after = world.deployment().await;
    assert_ne!(after, deployment);
    let history = world.published().await.unwrap().1;
    assert!(history.contains("reason: ethereum: a left (connection refused)"), "{}", &history[..900]);

    run(&world, &world.probe).await.unwrap();
    assert_eq!(carrier.settle(&world).await, quiet());
    assert_eq!(world.deployment().await, after);
    assert_eq!(carrier.again, 0);
}

fn probe_name(world: &World) -> &str {
    &world.outputs["ProbeFunction"]
}

/// Events that come twice, late, or with nothing behind them.
#[tokio::test]
async fn an_event_says_only_that_it_is_time_to_look() {
    let (leader, a) = tokio::join!(Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    world.add("ethereum", "a", a.port).await;
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a"]);
    let (published, deployment) = (world.published().await, world.deployment().await);

    // All of the streams once more, from their beginning.
    let mut late = Carrier::new(&world).await;
    assert!(late.settle(&world).await.publishes >= 2);
    let (one, other) = tokio::join!(run(&world, &world.publish), run(&world, &world.rollout));
    assert_eq!(
        (one.unwrap()["published"].clone(), other.unwrap()["outcome"].clone()),
        (json!(false), json!("current"))
    );
    assert_eq!((world.published().await, world.deployment().await), (published, deployment));
}

/// Without a single event: the schedules alone.
#[tokio::test]
async fn events_that_never_come_are_made_up_for_by_the_schedules() {
    let (leader, a) = tokio::join!(Anvil::start(), Anvil::start());
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let deployment = world.deployment().await;
    world.add("ethereum", "a", a.port).await;
    for function in [&world.probe, &world.publish, &world.rollout] {
        run(&world, function).await.unwrap();
    }
    assert_eq!(world.serving("ethereum").await, ["a"]);
    assert_ne!(world.deployment().await, deployment);
    assert_eq!(run(&world, &world.rollout).await.unwrap()["outcome"], "current");
}

/// One function, several ticks: the last begins before the minute ends.
#[tokio::test]
async fn shorter_intervals_are_ticks_within_one_invocation() {
    let leader = Anvil::start().await;
    let more = "health: {interval: 500ms, timeout: 200ms, confirm_after: 0s}";
    let text = config(&network("ethereum", leader.port), more);
    // Less time than a minute, so that a test ends: it stops when no other tick fits.
    let short = |setting: &mut nodeweir_emulator::Setting| setting.timeout = std::time::Duration::from_secs(15);
    let world = World::deploy_with(Moto::shared(), &text, short).await;
    run(&world, &world.probe).await.unwrap();
    let ticks = world.aws.count(&On::call("dynamodb", "PutItem").about(&world.outputs["HealthTable"]));
    assert!((2..=30).contains(&ticks), "{ticks} writes");
}
