//! Every call that can fail, and functions that die: the next run converges.

use nodeweir_emulator::{Answer, Fault, Function, On};
use serde_json::json;

use crate::carrier::{Carrier, metrics, run};
use crate::chain::PROMPT;
use crate::nodes::Anvil;
use crate::template::{config, network};
use crate::world::World;

/// A call does not arrive; or it takes effect, and its answer says that it failed.
const WAYS: [Fault; 2] = [Fault::Refused, Fault::FailedAfter];

/// A stage with one node, and one that is cordoned or not: something to publish at will.
struct Scene {
    world: World,
    carrier: Carrier,
    a: Anvil,
    _leader: Anvil,
    b: Anvil,
    is_cordoned: bool,
}

impl Scene {
    async fn new() -> Self {
        let (leader, a, b) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
        let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
        let carrier = Carrier::new(&world).await;
        let mut scene = Self { world, carrier, a, _leader: leader, b, is_cordoned: false };
        scene.world.add("ethereum", "a", scene.a.port).await;
        scene.change().await;
        scene.converges().await;
        scene
    }

    /// Cordons the node, or uncordons it.
    async fn change(&mut self) {
        self.is_cordoned = !self.is_cordoned;
        let url = format!("http://127.0.0.1:{}", self.b.port);
        let mut item = json!({"network": {"S": "ethereum"}, "node": {"S": "b"}, "url": {"S": url}});
        if self.is_cordoned {
            item["cordon"] = json!({"M": {"by": {"S": "test"}, "at": {"S": "2026-11-21T12:00:00Z"}}});
        }
        self.world.write(item).await;
    }

    /// All that is to happen has happened, by events or schedules alone.
    async fn converges(&mut self) {
        self.carrier.settle(&self.world).await;
        for function in [&self.world.probe, &self.world.publish, &self.world.rollout] {
            run(&self.world, function).await.unwrap();
        }
        let expected: &[&str] = if self.is_cordoned { &["a"] } else { &["a", "b"] };
        assert_eq!(self.world.serving("ethereum").await, expected);
        let current = run(&self.world, &self.world.rollout).await.unwrap();
        assert_eq!(current["outcome"], "current");
    }

    /// Fails each call of a function from one on, in turn, after a change that it has to act on.
    async fn fail_each_call_of(&mut self, name: &str, function: &Function, before: &[&Function]) {
        let name = self.world.outputs[name].clone();
        let mut failed = 0;
        for way in WAYS {
            for call in 0.. {
                self.change().await;
                for function in before {
                    run(&self.world, function).await.unwrap();
                }
                self.world.aws.forget();
                self.world.aws.fault(On::any().by(&name).from(call), way.clone());
                let outcome = run(&self.world, function).await;
                let calls = self.world.aws.count(&On::any().by(&name));
                self.world.aws.heal();
                self.converges().await;
                failed += usize::from(outcome.is_err());
                if calls <= call {
                    // It made fewer calls: none was left to fail.
                    assert!(outcome.is_ok(), "{outcome:?}");
                    break;
                }
            }
        }
        assert!(failed > 4, "{failed} runs failed");
    }
}

#[tokio::test]
async fn probe_converges_whichever_call_fails() {
    let mut scene = Scene::new().await;
    let probe = scene.world.probe.clone();
    scene.fail_each_call_of("ProbeFunction", &probe, &[]).await;
}

#[tokio::test]
async fn publish_converges_whichever_call_fails() {
    let mut scene = Scene::new().await;
    let publish = scene.world.publish.clone();
    scene.fail_each_call_of("PublishFunction", &publish, &[]).await;
}

#[tokio::test]
async fn rollout_converges_whichever_call_fails() {
    let mut scene = Scene::new().await;
    let (publish, rollout) = (scene.world.publish.clone(), scene.world.rollout.clone());
    scene.fail_each_call_of("RolloutFunction", &rollout, &[&publish]).await;
}

/// kill -9 while a write is on its way.
#[tokio::test]
async fn a_function_that_dies_in_the_middle_leaves_nothing_undone() {
    let mut scene = Scene::new().await;
    for (function, service, operation) in [
        (scene.world.probe.clone(), "dynamodb", "PutItem"),
        (scene.world.publish.clone(), "s3", "PutObject"),
        (scene.world.publish.clone(), "dynamodb", "PutItem"),
        (scene.world.rollout.clone(), "ecs", "UpdateService"),
    ] {
        scene.change().await;
        if operation == "UpdateService" {
            run(&scene.world, &scene.world.publish).await.unwrap();
        }
        let held = scene.world.aws.hold(On::call(service, operation));
        let run = run(&scene.world, &function);
        let killed = async {
            held.arrived(1).await;
            function.kill();
            held.release();
        };
        let (outcome, ()) = tokio::join!(run, killed);
        assert!(outcome.is_err(), "{operation}: {outcome:?}");
        scene.world.aws.heal();
        scene.converges().await;
    }
}

/// A batch that could not be done is named for another try; what it tells of is then done once.
#[tokio::test]
async fn a_batch_of_a_stream_is_sent_again() {
    let mut scene = Scene::new().await;
    scene.change().await;
    scene.world.aws.fault(On::service("s3").first(3), Fault::Throttled);
    scene.carrier.settle(&scene.world).await;
    assert_eq!(scene.carrier.again, 1);
    scene.converges().await;
}

#[tokio::test]
async fn publish_and_rollout_race_themselves() {
    let mut scene = Scene::new().await;
    let publish = scene.world.twin("PublishFunction", |_| {}).await;
    let rollout = scene.world.twin("RolloutFunction", |_| {}).await;
    for _ in 0..5 {
        scene.change().await;
        let (one, other) = tokio::join!(run(&scene.world, &scene.world.publish), run(&scene.world, &publish));
        let published = [one, other].map(|told| told.unwrap()["published"].as_bool().unwrap());
        assert!(published.contains(&true), "{published:?}");
        let before = scene.world.deployment().await;
        let (one, other) = tokio::join!(run(&scene.world, &scene.world.rollout), run(&scene.world, &rollout));
        let told = [one, other].map(|told| told.unwrap()["outcome"].as_str().unwrap().to_owned());
        assert_eq!(told.iter().filter(|told| *told == "started").count(), 1, "{told:?}");
        assert_ne!(scene.world.deployment().await, before);
        scene.converges().await;
    }
}

/// moto has no deployment that takes time, so its answer is changed on the way.
#[tokio::test]
async fn a_deployment_in_progress_is_waited_for_and_one_that_failed_is_told() {
    let mut scene = Scene::new().await;
    scene.change().await;
    run(&scene.world, &scene.world.publish).await.unwrap();
    let asked = On::call("ecs", "DescribeServices");
    let state = |state: &'static str, why: &'static str| {
        Fault::changed(move |told| {
            let deployment = &mut told["services"][0]["deployments"][0];
            deployment["rolloutState"] = json!(state);
            deployment["rolloutStateReason"] = json!(why);
        })
    };
    scene.world.aws.fault(asked.clone(), state("IN_PROGRESS", "ECS deployment in progress."));
    assert_eq!(run(&scene.world, &scene.world.rollout).await.unwrap()["outcome"], "waiting");
    scene.world.aws.heal();
    assert_eq!(run(&scene.world, &scene.world.rollout).await.unwrap()["outcome"], "started");
    let lines = scene.world.rollout.json_lines().len();
    scene.world.aws.fault(asked, state("FAILED", "tasks failed to start."));
    assert_eq!(run(&scene.world, &scene.world.rollout).await.unwrap()["outcome"], "failed");
    assert_eq!(metrics(&scene.world.rollout, lines)["RolloutFailed"], 1);
    let said = scene.world.rollout.lines().join("\n");
    assert!(said.contains("tasks failed to start."), "{said}");
    scene.world.aws.heal();
    scene.converges().await;
}

/// Errors have names that stay, and the log says in words what was asked of what.
#[tokio::test]
async fn an_error_has_a_name_and_a_reason() {
    let scene = Scene::new().await;
    let denied = || Fault::Instead(Answer::error(403, "AccessDenied"));
    scene.world.aws.fault(On::service("s3"), denied());
    let error = run(&scene.world, &scene.world.publish).await.unwrap_err();
    assert_eq!(error.kind, "ObjectUnavailable");
    assert!(error.message.starts_with("reading s3://") && error.message.contains("AccessDenied"), "{}", error.message);
    let seen = metrics(&scene.world.publish, 0);
    assert_eq!((seen["publish/Succeeded"], seen["publish/Failed"]), (0, 1));
    let lines = scene.world.publish.json_lines();
    let line = lines.iter().find(|line| line["level"] == "ERROR").unwrap();
    assert_eq!(line["kind"], "ObjectUnavailable");
    assert!(line["span"]["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    let error = scene.world.probe.invoke(json!({"networks": 7})).await.unwrap_err();
    assert_eq!(error.kind, "BadEvent");
}
