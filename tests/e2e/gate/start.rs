//! How the gate's process starts, ends, and is told of.

use std::fs;
use std::net::TcpListener;

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;

use super::{Gated, get};
use crate::both::place;
use crate::client::request;
use crate::nodes::Anvil;
use crate::process::{free_port, send, until};
use crate::rig::Rig;

fn take(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

#[tokio::test]
async fn a_gate_that_cannot_start_says_why() {
    let (_place, leader) = (place().await, Anvil::start().await);
    for setting in ["admin", "listen"] {
        let port = free_port();
        let _taken = take(port).unwrap();
        let other = if setting == "admin" { String::new() } else { format!(", admin: '127.0.0.1:{}'", free_port()) };
        let gate = format!("{{{setting}: '127.0.0.1:{port}'{other}}}");
        let rig = Rig::with_gate(ProxyKind::Nginx, &[("ethereum", &leader)], &gate);
        let done = rig.run(&["up"]).await.exits(1);
        let words = [format!("127.0.0.1:{port} (`gate.{setting}`)"), "is another program there?".to_owned()];
        assert!(done.err.contains("the gate cannot start"), "{done:?}");
        assert!(words.iter().all(|words| done.err.contains(words)), "{done:?}");
        assert!(done.err.contains("Address already in use"), "with the cause: {done:?}");
    }
}

#[tokio::test]
async fn a_stop_during_the_start_leaves_no_gate() {
    let (_place, leader) = (place().await, Anvil::start().await);
    for signal in [Signal::TERM, Signal::INT] {
        let gate = format!("{{admin: '127.0.0.1:{}'}}", free_port());
        let mut rig = Rig::with_gate(ProxyKind::Nginx, &[("ethereum", &leader)], &gate);
        // A gate waits for a store that it cannot open.
        fs::create_dir_all(rig.state("state.db")).unwrap();
        rig.up();
        until("the gate waits", async || rig.said().contains("the store cannot be used").then_some(())).await;
        assert_eq!(rig.proxy.all().len(), 1, "the gate works in the proxy's folder");
        rig.signal_up(signal);
        until("`up` ends", async || (!rig.is_up()).then_some(())).await;
        assert_eq!(rig.proxy.all(), Vec::<i32>::new(), "{signal:?}");
    }
}

#[tokio::test]
async fn a_gate_that_is_switched_off_is_ended_although_its_up_was_killed() {
    let mut gated = Gated::start("").await;
    gated.rig.kill_up();
    let first = gated.pid().unwrap();
    assert!(gated.rig.proxy.all().contains(&first));
    gated.rig.configure("gate: {admin:", "gate: {enabled: false, admin:");
    gated.rig.up();
    until("it has ended", async || (!gated.rig.proxy.all().contains(&first)).then_some(())).await;
    let body = request("eth_chainId");
    until("everybody may call", async || gated.try_post("/v3", &[], &body).await.ok()?.result()).await;
}

#[tokio::test]
async fn a_gate_that_does_not_stay_is_a_problem_and_one_that_does_is_none() {
    let gated = Gated::start("").await;
    gated.rig.until_status("all is well", |status| status.code == 0).await;
    let mut killed = None;
    let taken = until("another program has its address", async || {
        if let Some(pid) = gated.pid().filter(|pid| killed != Some(*pid)) {
            killed = Some(pid);
            send(pid, Signal::KILL);
        }
        take(gated.admin)
    })
    .await;
    until("who asks is told that nobody may pass", async || {
        get(gated.rig.port, "/readyz").await.filter(|said| said.contains("the gate is away"))
    })
    .await;
    let (status, _) = gated.rig.until_status("its last words are told", |status| status.says("(`gate.admin`)")).await;
    assert_eq!(status.code, 1);
    assert!(status.says("the gate has ended (exit status: 1) and is started again: cannot listen on"), "{status:?}");
    drop(taken);
    gated.rig.until_status("all is well again", |status| status.code == 0).await;
    assert!(get(gated.rig.port, "/readyz").await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn projects_whose_tier_is_gone_are_named_at_the_start() {
    let (_place, leader) = (place().await, Anvil::start().await);
    let gate = format!(
        "{{admin: '127.0.0.1:{}', tiers: {{small: {{requests_per_second: 2, credits_per_month: 100}}}}}}",
        free_port()
    );
    let mut rig = Rig::with_gate(ProxyKind::Nginx, &[("ethereum", &leader)], &gate);
    for (project, tier) in [("shop", "small"), ("lab", "small"), ("fine", "free")] {
        rig.run(&["project", "create", project, "--tier", tier]).await.exits(0);
    }
    rig.configure("{small:", "{tiny:");
    rig.up();
    let line = until("it is said", async || {
        rig.said().lines().find(|line| line.contains("project set-tier")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("\"WARN\"") && line.contains("lab (small), shop (small)"), "{line}");
    assert!(!line.contains("fine"), "{line}");
}
