//! What is counted is what happened.

use std::time::Duration;

use super::Gated;
use crate::client::{Load, failures};
use crate::process::until;
use crate::steady::steadily;

#[tokio::test]
async fn every_request_is_counted_and_charged_once() {
    steadily(async || {
        let mut gated = Gated::start("").await;
        gated.project("shop", "professional").await;
        let key = gated.key("shop", "web", &[]).await;
        let load = Load::start_at(gated.rig.port, &key.path(), 6);
        until("some hundred requests", async || (load.tried().len() > 400).then_some(())).await;
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new());
        let count = tried.len() as u64;
        let rows = gated.until_used("shop", count).await;
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows[0]["method"], &rows[0]["credits"]), (&"eth_blockNumber".into(), &count.into()));
        gated.until_spent("shop", count).await;

        // In order or not, the gate ends with its books right.
        let load = Load::start_at(gated.rig.port, &key.path(), 6);
        until("more requests", async || (load.tried().len() > 100).then_some(())).await;
        let tried = load.end().await;
        let count = count + tried.len() as u64;
        assert_eq!(gated.rig.stop_up().await.code(), Some(0));
        let credits = gated.credits("shop").await;
        assert_eq!(
            (&credits["spent"], &credits["leased"], &credits["written_off"]),
            (&count.into(), &0.into(), &0.into())
        );
        gated.until_used("shop", count).await;
    })
    .await;
}

#[tokio::test]
async fn a_killed_gate_is_back_at_once_and_nothing_is_counted_twice() {
    let gated = Gated::start("").await;
    gated.project("shop", "professional").await;
    let key = gated.key("shop", "web", &[]).await;
    let load = Load::start_at(gated.rig.port, &key.path(), 4);
    until("requests", async || (load.tried().len() > 50).then_some(())).await;
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let (before, pid) = (load.tried().len(), gated.pid().unwrap());
        let killed = std::time::Instant::now();
        crate::process::send(pid, rustix::process::Signal::KILL);
        until("another gate stands", async || gated.pid().filter(|new| *new != pid)).await;
        until("requests pass again", async || {
            let tried = load.tried();
            tried[before..]
                .iter()
                .any(|one| one.at > killed + Duration::from_millis(100) && one.outcome.is_ok())
                .then_some(())
        })
        .await;
        let tried = load.tried();
        let away = tried[before..].iter().filter(|one| one.outcome.is_err()).map(|one| one.at - killed).max();
        longest = longest.max(away.unwrap_or_default());
    }
    let tried = load.end().await;
    println!("{} requests, {} refused; away for {longest:?} at most", tried.len(), failures(&tried).len());
    for why in failures(&tried) {
        assert!(why.starts_with("503: ") && why.contains("GATE_UNAVAILABLE"), "{why}");
    }
    let passed = tried.iter().filter(|one| one.outcome.is_ok()).count() as u64;
    gated.until_used("shop", passed).await;
    // What the killed ones held and did not report is written off, in time; until then it is leased.
    let credits = gated.credits("shop").await;
    let number = |name: &str| credits[name].as_u64().unwrap();
    assert_eq!(number("spent") + number("written_off") + number("leased") + number("left"), number("granted"));
    assert!(number("spent") + number("leased") + number("written_off") >= passed, "{credits}");
}
