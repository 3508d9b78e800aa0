//! The program and its proxy end, in order and not, and start again.

use rustix::process::Signal;

use crate::both::{with_both, with_one};
use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::process::{send, until};
use crate::rig::Rig;

#[tokio::test]
async fn after_a_stop_everything_is_as_it_was() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a), ("b", &b)]).await;
        let (live, published) = (rig.status().await.live().unwrap().to_owned(), rig.published());
        let history = rig.run(&["history"]).await.exits(0).out;

        assert_eq!(rig.stop_up().await.code(), Some(0), "{kind}");
        assert_eq!(rig.proxy.all(), Vec::<i32>::new(), "{kind}: nothing is left");
        assert!(rig.call().await.is_err(), "{kind}: nobody listens");
        let status = rig.status().await;
        assert_eq!(status.code, 1);
        assert!(status.says("`nodeweir up` does not run"), "{:?}", status.problems());
        assert!(!rig.said().contains("\"ERROR\""), "{kind}: {}", rig.said());

        rig.up();
        let (status, took) = rig.until_status("it serves again", |status| status.live().is_some()).await;
        println!("{kind}: live {took:?} after the start");
        assert_eq!(status.live(), Some(live.as_str()), "{kind}: the same revision");
        assert!(["a", "b"].contains(&rig.endpoint().await.as_str()));
        // Two ticks later nothing has changed yet.
        let tick = |status: &crate::status::Status| status.network("ethereum")["last_tick"].to_string();
        let mut last = tick(&status);
        for _ in 0..2 {
            let (status, _) = rig.until_status("a tick", |status| tick(status) != last).await;
            last = tick(&status);
        }
        assert_eq!(rig.published(), published, "{kind}: published again");
        assert_eq!(rig.run(&["history"]).await.exits(0).out, history, "{kind}");
        assert_eq!(rig.status().await.code, 0);
    })
    .await;
}

#[tokio::test]
async fn killed_it_leaves_the_proxy_serving_and_the_next_one_takes_over() {
    with_both(async |kind| {
        let (leader, mut a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a), ("b", &b)]).await;
        let first = rig.proxy.master().expect("a master");
        rig.kill_up();
        let load = Load::start(rig.port, 3);
        load.until_answered_by(&["a", "b"]).await;
        assert_eq!(rig.proxy.master(), Some(first), "{kind}: it goes on");
        assert!(rig.status().await.says("`nodeweir up` does not run"));

        // The world changes while nobody looks.
        a.kill();
        rig.run(&["node", "edit", "ethereum", "b", "--weight", "5"]).await.exits(0).says("when `nodeweir up` runs");
        rig.up();
        let (status, took) = rig.until_all_serve(["b"]).await;
        println!("{kind}: taken over and converged in {took:?}");
        assert_eq!(status.node("b")["weight"], 5);
        assert_ne!(rig.proxy.master(), Some(first), "{kind}: it was replaced");
        let is_old = |pid: &i32| *pid == first;
        until("the old master is gone", async || (!rig.proxy.all().iter().any(is_old)).then_some(())).await;

        let tried = load.end().await;
        let failed = failures(&tried);
        let at: Vec<_> = tried.iter().filter(|one| one.outcome.is_err()).map(|one| one.at).collect();
        let gap = at.last().zip(at.first()).map(|(last, first)| *last - *first);
        println!("{kind}: {} of {} requests failed during the takeover, over {gap:?}", failed.len(), tried.len());
        // Between the old proxy that lets go of the port and the new one nobody listens for a moment; what was
        // accepted is answered.
        assert!(failed.iter().all(|why| why.starts_with("connecting: ")), "{kind}: {failed:?}");
        assert_eq!(rig.endpoint().await, "b");
    })
    .await;
}

#[tokio::test]
async fn a_killed_proxy_is_started_again() {
    with_both(async |kind| {
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let live = rig.status().await.live().unwrap().to_owned();
        let first = rig.proxy.master().expect("a master");
        send(first, Signal::KILL);
        let began = std::time::Instant::now();
        until("another master", async || rig.proxy.master().filter(|master| *master != first)).await;
        let serves = async || rig.call().await.ok().filter(|answer| answer.endpoint() == "a").map(drop);
        until("it serves again", serves).await;
        println!("{kind}: serves again {:?} after its master was killed", began.elapsed());
        let (status, _) = rig.until_status("all is well", |status| status.code == 0).await;
        assert_eq!(status.live(), Some(live.as_str()));
        let events = rig.run(&["history", "--events", "--json"]).await.exits(0).json();
        let of_proxy = events.as_array().unwrap().iter().find(|event| event["kind"] == "proxy").expect("an event");
        assert!(of_proxy["what"].as_str().unwrap().contains("ended unasked"), "{of_proxy}");
        assert!(rig.is_up());
    })
    .await;
}

#[tokio::test]
async fn only_one_runs_on_a_state() {
    with_one(async |kind| {
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let second = rig.run(&["up"]).await.exits(1).says("another `nodeweir up` runs on the state in");
        assert_eq!(second.err.lines().count(), 1, "one clear sentence: {}", second.err);
        assert!(rig.is_up());
        assert_eq!((rig.status().await.code, rig.endpoint().await.as_str()), (0, "a"));
    })
    .await;
}
