//! What is away, and what becomes of requests meanwhile.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection as Sqlite;
use rustix::process::Signal;

use super::{Gated, assert_refused};
use crate::process::{send, until};
use crate::rig::NODEWEIR;
use crate::steady::steadily;

#[tokio::test]
async fn a_stopped_gate_closes_and_one_that_is_to_be_open_opens() {
    for (when_away, is_open) in [("closed", false), ("open", true)] {
        let mut gated = Gated::start(&format!(", when_away: {when_away}")).await;
        gated.project("shop", "free").await;
        let key = gated.key("shop", "web", &[]).await;
        assert!(gated.call(&key, "eth_chainId").await.result().is_some());
        // Without `up` nobody starts another.
        gated.rig.kill_up();
        send(gated.pid().unwrap(), Signal::KILL);
        let answer = until("the gate is away", async || {
            let answer = gated.post("/v3/nobody", &[], &crate::client::request("eth_chainId")).await;
            // A question that was on its way is never passed.
            let is_settled = if is_open { answer.status == 200 } else { answer.status != 401 };
            is_settled.then_some(answer)
        })
        .await;
        if is_open {
            assert!(answer.result().is_some(), "{answer:?}");
        } else {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
            assert_eq!(answer.json()["error"]["data"]["code"], "GATE_UNAVAILABLE");
        }
        gated.rig.up();
        until("the gate stands again", async || {
            let answer = gated.try_post("/v3/nobody", &[], &crate::client::request("eth_chainId")).await.ok()?;
            (answer.status == 401).then_some(())
        })
        .await;
        // The new gate may have answered by the old proxy, which then made room for a new one.
        let body = crate::client::request("eth_chainId");
        until("it answers again", async || gated.try_post(&key.path(), &[], &body).await.ok()?.result()).await;
    }
}

#[tokio::test]
async fn a_killed_up_leaves_the_gate_standing_and_the_next_takes_its_place() {
    let mut gated = Gated::start("").await;
    gated.project("shop", "free").await;
    let key = gated.key("shop", "web", &[]).await;
    gated.rig.kill_up();
    let first = gated.pid().unwrap();
    assert!(gated.call(&key, "eth_chainId").await.result().is_some());
    gated.rig.up();
    until("another gate stands", async || gated.pid().filter(|pid| *pid != first)).await;
    gated.rig.until_all_serve(["a"]).await;
    let body = crate::client::request("eth_chainId");
    until("it answers", async || gated.try_post(&key.path(), &[], &body).await.ok()?.result()).await;
    assert!(!gated.rig.proxy.all().contains(&first), "the first has ended");
    gated.until_spent("shop", 2).await;
}

/// As an upgrade does it, before `up` is started again.
#[tokio::test]
async fn a_gate_that_dies_is_replaced_though_the_program_s_file_is_another() {
    // Where a second link to it can be made. A copy could still be open for writing in a process that another test starts.
    let beside = tempfile::tempdir_in(Path::new(NODEWEIR).parent().unwrap()).unwrap();
    let program = beside.path().join("nodeweir");
    fs::hard_link(NODEWEIR, &program).unwrap();
    let gated = Gated::start_with("", |rig| rig.program.clone_from(&program)).await;
    gated.project("shop", "free").await;
    let key = gated.key("shop", "web", &[]).await;
    let newer = beside.path().join("newer");
    fs::write(&newer, "").unwrap();
    fs::rename(&newer, &program).unwrap();
    let killed = gated.pid().unwrap();
    send(killed, Signal::KILL);
    until("another gate stands", async || gated.pid().filter(|pid| *pid != killed)).await;
    let body = crate::client::request("eth_chainId");
    until("it answers", async || gated.try_post(&key.path(), &[], &body).await.ok()?.result()).await;
}

/// Once it was only told of, and nobody could pass until somebody killed it.
#[tokio::test]
async fn a_gate_that_hangs_is_replaced() {
    let gated = Gated::start("").await;
    gated.project("shop", "free").await;
    let key = gated.key("shop", "web", &[]).await;
    assert!(gated.call(&key, "eth_chainId").await.result().is_some());
    let hung = gated.pid().unwrap();
    send(hung, Signal::STOP);
    let refused = gated.call(&key, "eth_chainId").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.json()["error"]["data"]["code"], "GATE_UNAVAILABLE");
    until("another gate stands", async || gated.pid().filter(|pid| *pid != hung)).await;
    let body = crate::client::request("eth_chainId");
    until("it answers", async || gated.try_post(&key.path(), &[], &body).await.ok()?.result()).await;
    assert!(!gated.rig.proxy.all().contains(&hung), "the one that hung has ended");
    assert!(gated.rig.said().contains("the gate does not answer any more"), "{}", gated.rig.said());
}

#[tokio::test]
async fn a_locked_store_keeps_nobody_out_who_was_in() {
    steadily(async || {
        let gated = Gated::start("").await;
        gated.project("shop", "business").await;
        let (key, late) = (gated.key("shop", "web", &[]).await, gated.key("shop", "late", &[]).await);
        assert!(gated.call(&key, "eth_chainId").await.result().is_some());
        let locked = Sqlite::open(gated.rig.state("state.db")).unwrap();
        locked.busy_timeout(Duration::from_secs(10)).unwrap();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        // Longer than a lease is idle, so that the ledger must be asked.
        let (began, mut passed) = (std::time::Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(8) || passed < 60 {
            passed += 1;
            let answer = gated.call(&key, "eth_chainId").await;
            assert!(answer.result().is_some(), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Readers go on beside a writer, so a key that was never asked for is found, and has its share of the overdraft.
        let answer = gated.call(&late, "eth_chainId").await;
        assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
        if answer.status == 503 {
            assert_refused(&answer, 503, -32603, "GATE_UNAVAILABLE");
        }
        locked.execute_batch("ROLLBACK").unwrap();
        drop(locked);
        until("credits are settled", async || {
            let credits = gated.credits("shop").await;
            (credits["leased"] == 0 && credits["spent"].as_u64() > Some(50)).then_some(())
        })
        .await;
    })
    .await;
}
