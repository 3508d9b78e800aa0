//! The gate as the second child.

use std::net::TcpListener;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use rustix::process::Signal;

use crate::nodes::Anvil;
use crate::process::{send, until};
use crate::rig::{Container, Rig, gate_of};

/// What an operator beside the container has made: the project `shop`, and a key.
struct Shop {
    store: SqliteStore,
    project: ProjectId,
    key: String,
}

impl Shop {
    async fn open(rig: &Rig) -> Self {
        let store = SqliteStore::open(&rig.state.join("state.db")).unwrap();
        let (project, created): (ProjectId, _) = ("shop".parse().unwrap(), Timestamp::now());
        let made = Project {
            id: project.clone(),
            tier: "free".parse().unwrap(),
            created,
            requests_per_second: None,
            credits_per_month: None,
            methods: vec![],
            websocket: false,
        };
        assert_eq!(store.put_project(None, &made).await.unwrap(), Written::Done);
        let secret = Secret::from_random(&[7; 64]).unwrap();
        let (digest, name) = (secret.digest(), "main".parse().unwrap());
        let restrictions = Restrictions::default();
        let key = Key { digest, project: project.clone(), name, restrictions, created, expires: None, revoked: None };
        assert_eq!(store.put_key(None, &key).await.unwrap(), Written::Done);
        Self { store, project, key: secret.reveal().to_owned() }
    }

    async fn account(&self) -> Account {
        self.store.account(&self.project, Period::of(Timestamp::now())).await.unwrap().unwrap()
    }
}

/// What it was given.
fn has_in_environment(pid: i32, text: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8_lossy(&environment).contains(text)
}

async fn started(rig: &Rig, node: &Anvil) -> (Shop, Container) {
    started_by(rig, node, &[]).await
}

async fn started_by(rig: &Rig, node: &Anvil, words: &[&str]) -> (Shop, Container) {
    let shop = Shop::open(rig).await;
    rig.publish(&rig.revision(1, "one", node.port).compose()).await;
    let container = rig.start_by(words);
    container.serves_by(&shop.key, "one").await;
    (shop, container)
}

#[tokio::test]
async fn only_who_has_a_key_passes_and_a_stop_leaves_no_lease() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let rig = Rig::gated(leader.port).await;
    let (shop, mut container) = started(&rig, &one).await;
    assert_eq!(container.call_by("nobody").await.unwrap().status, 401);
    for _ in 0..3 {
        assert_eq!(container.call_by(&shop.key).await.unwrap().status, 200);
    }
    assert_eq!(container.stop().await, 0);
    let account = shop.account().await;
    let leased: u64 = account.leases.values().map(|lease| lease.amount).sum();
    assert!(leased == 0 && account.written_off == 0 && account.spent > 3, "{account:?}");
    assert!(!rig.state.join("proxy/usage/requests.log").exists(), "all of what was used is counted");
}

#[tokio::test]
async fn a_gate_that_is_killed_is_started_again_and_takes_nothing_with_it() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let rig = Rig::gated(leader.port).await;
    let (shop, mut container) = started(&rig, &one).await;
    let master = container.proxy.master().unwrap();
    // Without a pause it would be back before anybody could look.
    let mut killed = None;
    until("who asks is told that nobody may pass", async || {
        if let Some(pid) = gate_of(&rig).filter(|pid| killed != Some(*pid)) {
            killed = Some(pid);
            send(pid, Signal::KILL);
        }
        (container.ready().await == Some(503)).then_some(())
    })
    .await;
    let (is_ready, said) = rig.ready();
    assert!(!is_ready && said.contains("is not ready: HTTP/1.1 503"), "{said}");
    until("it is ready again", async || (container.ready().await == Some(200)).then_some(())).await;
    container.serves_by(&shop.key, "one").await;
    container.says("the gate has ended (signal: 9 (SIGKILL)) and is started again").await;
    assert_eq!(container.proxy.master(), Some(master), "the proxy runs on");
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn where_requests_pass_without_a_gate_a_task_stays_ready_without_it() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let mut rig = Rig::gated(leader.port).await;
    rig.gate = ", when_away: open".to_owned();
    let (_shop, mut container) = started(&rig, &one).await;
    assert_eq!(container.call_by("nobody").await.unwrap().status, 401);
    let mut killed = None;
    until("who has no key passes", async || {
        if let Some(pid) = gate_of(&rig).filter(|pid| killed != Some(*pid)) {
            killed = Some(pid);
            send(pid, Signal::KILL);
        }
        assert_eq!(container.ready().await, Some(200));
        (container.call_by("nobody").await.ok()?.status == 200).then_some(())
    })
    .await;
    container.says("requests pass without the gate").await;
    assert_eq!(container.ready().await, Some(200));
    assert_eq!(container.stop().await, 0);
}

/// It speaks to no node.
#[tokio::test]
async fn the_gate_is_given_no_secret_of_a_node() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let mut rig = Rig::gated(leader.port).await;
    rig.sections = "secrets: {KEY: {hosts: [127.0.0.1]}}\n";
    let (_shop, mut container) = started_by(&rig, &one, &["/usr/bin/env", "KEY=of-a-node"]).await;
    assert!(has_in_environment(i32::try_from(container.child.0.id()).unwrap(), "KEY=of-a-node"));
    assert!(!has_in_environment(gate_of(&rig).unwrap(), "of-a-node"));
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn a_gate_that_cannot_start_ends_the_container_with_its_reason() {
    let leader = Anvil::start().await;
    let rig = Rig::gated(leader.port).await;
    let _taken = TcpListener::bind(("127.0.0.1", rig.admin.unwrap())).unwrap();
    let mut container = rig.start();
    assert_eq!(container.ends().await, 1);
    container.says("the gate cannot start: cannot listen on 127.0.0.1:").await;
    assert_eq!(container.ready().await, None);
}

#[tokio::test]
async fn a_gate_that_does_not_stay_ends_the_container() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let rig = Rig::gated(leader.port).await;
    let (_shop, mut container) = started(&rig, &one).await;
    let admin = rig.admin.unwrap();
    let mut killed = None;
    let _taken = until("another program has its address", async || {
        if let Some(pid) = gate_of(&rig).filter(|pid| killed != Some(*pid)) {
            killed = Some(pid);
            send(pid, Signal::KILL);
        }
        TcpListener::bind(("127.0.0.1", admin)).ok()
    })
    .await;
    assert_eq!(container.ends().await, 1);
    container.says("the gate does not stay up: the gate has ended").await;
    assert_eq!(container.proxy.all(), [0; 0], "nothing is left");
}
