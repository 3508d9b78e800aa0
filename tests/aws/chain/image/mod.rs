//! The proxy's image as the task of the deployed service: from its Dockerfile to an answer to a client, and to its stop.

mod build;
mod container;
mod contents;
mod ledger;
mod registry;
mod task;
mod upload;

use std::time::Instant;

use nodeweir_domain::fleet::revision::Revision;
use nodeweir_emulator::{Moto, On, Permission};
use serde_json::json;

use crate::carrier::{Carrier, run, told};
use crate::chain::PROMPT;
use crate::client::{Connection, Load, failures};
use crate::nodes::{Anvil, HEAD};
use crate::permissions::needs_what_it_may;
use crate::process::{free_port, until};
use crate::template::{Tasks, config_with, network, synthesise};
use crate::world::{KEY, World, good, head_with_key};
use build::Workshop;
use container::{Container, Run};
use ledger::Ledger;
use task::{ROLE, Task};
use upload::repositories;

/// Drains soon, so that the test ends; what is in flight has time even on a busy machine.
const TIMEOUTS: &str =
    "  timeouts: {connect: 500ms, attempt: 5s, total: 20s, keepalive_min: 1s, shutdown: 60s, drain: 1s}";

/// One test, because a base to build on takes its time and its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_built_uploaded_and_serves_as_a_task() {
    let Some(workshop) = Workshop::open().await else { return };
    tokio::join!(nginx_serves_what_is_deployed(&workshop), haproxy_serves_the_leaders(&workshop));
}

async fn nginx_serves_what_is_deployed(workshop: &Workshop) {
    let began = Instant::now();
    let contents = workshop.path("contents.json");
    let name = workshop.upload(&["--sbom", contents.to_str().unwrap()]).await;
    assert!(name.starts_with(&workshop.registry.ecr), "{name}");
    assert_eq!(repositories(&workshop.aws).await.len(), 1);
    workshop.forget(&name).await;
    let image = workshop.image(&name).await;
    println!("nginx: built, uploaded and pulled after {:?}", began.elapsed());
    image.says_what_engines_ask();
    contents::are_all_told(&contents, &image.root);

    let (leader, mut a, b) = tokio::join!(head_with_key(KEY, HEAD), Anvil::start(), Anvil::start());
    // Tasks have addresses of their own in AWS; here they share the machine's with all other tests, so each has a port of
    // its own. It is written where a person writes it, and comes to the task as everything does.
    let (port, admin) = (free_port(), free_port());
    let tasks = Tasks { port, image: &name, architecture: build::architecture() };
    let networks = format!("{}/${{INFURA_KEY}}\n", network("ethereum", leader).trim_end());
    let gate = format!("gate: {{admin: '127.0.0.1:{admin}'}}");
    let config = config_with(&tasks, &networks, &format!("{TIMEOUTS}\n{gate}\n{PROMPT}"));
    let world = World::deploy_by(Moto::shared(), &synthesise(&config), &config, |_| {}).await;
    let mut carrier = Carrier::new(&world).await;
    let ledger = Ledger::prepare(&world).await;
    println!("nginx: deployed after {:?}", began.elapsed());

    // The first deployment: nothing is published, and the leader wants the key that the task was given.
    let task = Task::of(&world).await;
    assert_eq!(task.image(), name);
    let mut container = Container::start(&image, port, task.run(&world).await);
    container.serves(&ledger.path(), "infura").await;
    assert!(container.is_ready().await);
    assert_eq!(Connection::call(port, "/v3", "eth_blockNumber").await.unwrap().status, 401);
    assert!(world.published().await.is_none());
    println!("nginx: serves after {:?}", began.elapsed());

    let load = Load::start_at(port, &ledger.path(), 4);
    world.add("ethereum", "a", a.port).await;
    world.add("ethereum", "b", b.port).await;
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a", "b"]);
    let looks = || world.aws.count(&On::call("s3", "GetObject").by(ROLE));
    let before = looks();
    load.until_answered_by(&["a", "b"]).await;
    // The first look sees it; a busy machine may notice that only after another.
    assert!(looks() <= before + 3, "{} looks", looks() - before);

    a.kill();
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["b"]);
    let revision = Revision::parse(&world.published().await.unwrap().1).unwrap();
    container.runs(&revision.name()).await;
    load.until_answered_by(&["b"]).await;

    // Somebody writes over what is published.
    let path = format!("/{}/revision.conf", world.outputs["Bucket"]);
    good(world.client.send("s3", "PUT", &path, &[], "events {}").await);
    container.says("what is published is refused, and what runs goes on").await;
    load.until_answered_by(&["b"]).await;
    ledger.is_tidied(&world).await;
    // A key that is in use is read anew a quarter of a minute later.
    let reads_anew = |left: &[Permission]| left.iter().all(|permission| permission.action != "dynamodb:BatchGetItem");
    until("keys are read anew", async || reads_anew(&world.aws.unused(ROLE)).then_some(())).await;
    let tried = load.end().await;
    assert_eq!(failures(&tried), Vec::<&str>::new(), "of {}", tried.len());

    let stopping = Instant::now();
    assert_eq!(container.stop().await, 0, "{}", container.said());
    let took = stopping.elapsed();
    assert!(took < task.stop_timeout(), "ECS would have killed it: {took:?}");
    println!("nginx: {} requests; stopped in {took:?}, after {:?}", tried.len(), began.elapsed());
    assert!(!container.said().contains("Read-only file system"), "{}", container.said());
    ledger.is_settled(&world, tried.len() + 1).await;
    needs_what_it_may(&world.aws, ROLE);
    let lines = container.json_lines();
    let about = lines.iter().filter_map(|line| line.pointer("/_aws/CloudWatchMetrics/0/Dimensions"));
    assert!(about.clone().count() >= 2 && about.clone().all(|about| *about == json!([["Stage"]])), "{lines:?}");
    let told = told(lines);
    let metrics = ["RevisionRefused", "RevisionUnread", "ProxyRestarts", "GateRestarts"].map(|name| told[name]);
    assert_eq!(metrics, [1, 0, 0, 0]);
}

/// Beside a folder in which nothing is published.
async fn haproxy_serves_the_leaders(workshop: &Workshop) {
    let began = Instant::now();
    let name = workshop.upload(&["--proxy", "haproxy", "--registry", &workshop.registry.own]).await;
    assert!(name.starts_with(&workshop.registry.own) && name.ends_with("-haproxy"), "{name}");
    let image = workshop.image(&name).await;
    println!("haproxy: built and uploaded after {:?}", began.elapsed());
    image.says_what_engines_ask();

    let (leader, port) = (Anvil::start().await, free_port());
    let config = format!(
        "default_network: ethereum\nnetworks:\n{}gate: {{enabled: false}}\nproxy:\n  kind: haproxy\n  \
         listen: 127.0.0.1:{port}\n{TIMEOUTS}\n",
        network("ethereum", leader.port)
    );
    let environment = [("NODEWEIR_CONFIG_TEXT", config.as_str()), ("NODEWEIR_FOLDER", "/tmp/published")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut container =
        Container::start(&image, port, Run { environment, volumes: image.volumes(), open_files: 65_536 });
    container.serves("/v3", "infura").await;
    assert!(container.is_ready().await);
    assert_eq!(container.stop().await, 0, "{}", container.said());
    println!("haproxy: stopped after {:?}", began.elapsed());
    assert!(!container.is_ready().await);
    assert!(!container.said().contains("Read-only file system"), "{}", container.said());
}
