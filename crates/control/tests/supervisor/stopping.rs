//! A stop drains, waits for those in flight, and leaves nothing.

use std::time::{Duration, Instant};

use nodeweir_control::proxy::Stopped;
use nodeweir_domain::config::ProxyKind;

use crate::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drains_first_and_finishes_what_is_in_flight() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        // Long enough to be seen by a machine that stands still for a while.
        rig.settings.drain = Duration::from_secs(5);
        let mut supervisor = rig.started().await;
        assert_eq!(rig.get("/readyz").await.unwrap().status, 200);
        let request = rig.slow_request().await;
        let watch = async {
            until("/readyz is 503", || async { rig.get("/readyz").await.is_ok_and(|answer| answer.status == 503) })
                .await;
            assert_eq!(rig.says().await, "one", "while draining, requests are served");
            until("nobody listens any more", || async { rig.get("/text").await.is_err() }).await;
            assert!(!request.is_finished(), "the slow request is still in flight");
            rig.node.release(1);
            assert_eq!(request.await.unwrap().unwrap().body, "slow");
        };
        let (stopped, ()) = tokio::join!(supervisor.stop(), watch);
        assert_eq!(stopped.unwrap(), Stopped::Gracefully, "{kind}");
        assert_eq!(rig.processes(), [0; 0]);
        assert_eq!(std::fs::read_dir(rig.folder().join("sock")).unwrap().count(), 0);
        assert_eq!(supervisor.stop().await.unwrap(), Stopped::NotRunning);
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.get("/readyz").await.unwrap().status, 200, "a new start is not draining");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_longer_than_it_may() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        rig.bound_shutdown(1);
        let mut supervisor = rig.started().await;
        let request = rig.slow_request().await;
        let start = Instant::now();
        supervisor.stop().await.unwrap();
        // The slow request would go on for a minute and more.
        assert!(start.elapsed() < Duration::from_secs(30), "{kind}: {:?}", start.elapsed());
        assert_eq!(rig.processes(), [0; 0]);
        assert!(request.await.unwrap().map_or(true, |answer| answer.status >= 500), "it was cut off");
    }
}
