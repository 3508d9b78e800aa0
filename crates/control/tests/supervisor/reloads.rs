//! Reloads hurt nobody.

use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;

use crate::client::Load;
use crate::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_lose_no_request_of_kept_connections() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        // However long the machine stands still, no old worker ends before its clients have left it.
        rig.bound_shutdown(60);
        let mut supervisor = rig.started().await;
        let usual = rig.all_processes().await.len();
        let load = Load::start(rig.body.port, 16);
        let (start, mut most) = (Instant::now(), 0);
        for round in 0..100 {
            supervisor.apply(&format!("{round}-load"), &rig.text(&round.to_string())).await.unwrap();
            most = most.max(rig.processes().len());
        }
        let took = start.elapsed();
        let (requests, failures) = load.end().await;
        println!(
            "{kind}: 100 reloads in {took:?}, {requests} requests, {} failed, {most} processes at most",
            failures.len()
        );
        assert!(failures.is_empty(), "{kind}: {} of {requests} failed: {:?}", failures.len(), &failures[..1]);
        assert!(requests > 1_000, "{kind}: {requests} requests are no load");
        assert_eq!(rig.says().await, "99");
        until("the old workers are gone", || async { rig.processes().len() <= usual }).await;
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_end_within_the_shutdown_time_however_many_reloads_there_are() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        rig.bound_shutdown(6);
        let mut supervisor = rig.started().await;
        let usual = rig.all_processes().await.len();
        let mut requests = Vec::new();
        for round in 0..6 {
            requests.push(rig.slow_request().await);
            supervisor.apply(&format!("{round}-held"), &rig.text(&round.to_string())).await.unwrap();
        }
        assert!(rig.processes().len() > usual, "old workers still hold their slow requests");
        let start = Instant::now();
        until("the old workers are gone", || async { rig.processes().len() <= usual }).await;
        assert!(start.elapsed() < Duration::from_secs(6 + 20), "{kind}: {:?}", start.elapsed());
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_survives_a_reload() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        let request = rig.slow_request().await;
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        rig.node.release(1);
        let answer = request.await.unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_whose_lines_nobody_reads_goes_on() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let (sender, mut lines) = tokio::sync::mpsc::channel(1);
        let mut supervisor = rig.supervisor_telling(sender);
        supervisor.apply("1-one", &rig.text("one")).await.unwrap();
        let mut connection = crate::client::Connection::open(rig.body.port).await.unwrap();
        // About 2 MB of access log: more than any pipe holds.
        let path = format!("/{}", "x".repeat(1_000));
        for _ in 0..2_000 {
            assert_eq!(connection.get(&path).await.unwrap().status, 200);
        }
        lines.recv().await.unwrap();
        let mut dropped = false;
        until("the loss is told", || {
            dropped |= std::iter::from_fn(|| lines.try_recv().ok()).any(|line| line.text.contains("were dropped"));
            let request = rig.get("/");
            async move {
                request.await.unwrap();
                dropped
            }
        })
        .await;
        supervisor.stop_now().await.unwrap();
    }
}
