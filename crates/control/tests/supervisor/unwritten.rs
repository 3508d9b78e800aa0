//! What cannot be written down keeps nobody from being served.

use std::fs;

use nodeweir_control::proxy::Stopped;
use nodeweir_domain::config::ProxyKind;

use crate::rig::{Rig, kill, until};

/// Has writes of this file fail, as on a full disk: drafts have names of their own.
fn forbid(rig: &Rig, name: &str) {
    fs::create_dir(rig.folder().join(format!(".{name}.draft"))).unwrap();
}

fn allow(rig: &Rig, name: &str) {
    fs::remove_dir(rig.folder().join(format!(".{name}.draft"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_kept_for_the_next_start_as_soon_as_it_can_be_written() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        forbid(&rig, "last-good");
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!((rig.says().await.as_str(), supervisor.last_good().unwrap().0.as_str()), ("two", "1-one"));
        supervisor.upkeep().unwrap();
        let told = rig.said().iter().filter(|line| line.contains("last-good")).count();
        assert_eq!(told, 1, "{kind}: once");
        allow(&rig, "last-good");
        supervisor.upkeep().unwrap();
        assert_eq!(supervisor.last_good().unwrap().0, "2-two");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_one_even_if_nobody_can_note_it() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        forbid(&rig, "proxy.pid");
        kill(supervisor.pid().unwrap().cast_signed(), rustix::process::Signal::KILL);
        supervisor.exited().await;
        supervisor.restart().await.unwrap();
        assert_eq!(rig.says().await, "one");
        assert!(rig.said().iter().any(|line| line.contains("proxy.pid")), "{kind}");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_be_announced_is_a_graceful_stop_nevertheless() {
    let mut rig = Rig::new(ProxyKind::Nginx).await;
    let mut supervisor = rig.started().await;
    forbid(&rig, "draining");
    let request = rig.slow_request().await;
    let watch = async {
        until("nobody listens any more", || async { rig.get("/text").await.is_err() }).await;
        rig.node.release(1);
        assert_eq!(request.await.unwrap().unwrap().body, "slow");
    };
    let (stopped, ()) = tokio::join!(supervisor.stop(), watch);
    assert_eq!(stopped.unwrap(), Stopped::Gracefully);
    assert_eq!(rig.processes(), [0; 0]);
    assert!(rig.said().iter().any(|line| line.contains("draining")));
}
