//! Start, apply, reject, and what is remembered.

use std::os::unix::net::UnixListener;

use nodeweir_control::proxy::{ApplyError, StartError};
use nodeweir_domain::config::ProxyKind;

use crate::bodies::{self, Body};
use crate::rig::{Rig, SECRET, free_port};

fn can_be_spawned<F: Send>(future: F) -> F {
    future
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_starts_and_the_next_replaces_it() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.supervisor();
        assert_eq!(supervisor.running().await, None);
        supervisor.apply("1-one", &rig.text("one")).await.unwrap();
        assert_eq!((supervisor.running().await.as_deref(), rig.says().await.as_str()), (Some("1-one"), "one"));
        let pid = supervisor.pid();
        can_be_spawned(supervisor.apply("2-two", &rig.text("two"))).await.unwrap();
        for _ in 0..50 {
            assert_eq!(rig.says().await, "two", "no worker of the earlier revision takes connections any more");
        }
        assert_eq!((supervisor.running().await.as_deref(), supervisor.pid()), (Some("2-two"), pid), "reloaded");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_what_runs_does_nothing() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        let before = rig.all_processes().await;
        supervisor.apply("1-one", &rig.text("one")).await.unwrap();
        assert_eq!(rig.processes(), before, "no worker was replaced");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_revision_changes_nothing_and_its_secret_stays_secret() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        let before = rig.all_processes().await;
        let error = supervisor.apply("2-two", &bodies::broken(kind, &rig.body)).await.unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, ApplyError::Rejected { .. }), "{shown}");
        assert!(shown.contains("bogus_[redacted]") && !shown.contains(SECRET), "{shown}");
        assert_eq!((supervisor.running().await.as_deref(), rig.says().await.as_str()), (Some("1-one"), "one"));
        assert_eq!(rig.processes(), before);
        assert_eq!(supervisor.last_good().unwrap().0, "1-one");
        supervisor.apply("3-three", &rig.text("three")).await.unwrap();
        assert_eq!(rig.says().await, "three");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_before_the_proxy_sees_it() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.supervisor();
        let text = rig.text("one");
        assert!(matches!(supervisor.apply("a b", &text).await, Err(ApplyError::Name(_))));
        assert!(matches!(supervisor.apply("1", "no mark").await, Err(ApplyError::Unmarked(_))));
        let unknown = text.replace("NODE_KEY", "OTHER_KEY");
        let error = supervisor.apply("1", &unknown).await.unwrap_err().to_string();
        assert!(error.contains("OTHER_KEY has no value"), "{error}");
        assert!(matches!(supervisor.restart().await, Err(StartError::Nothing)));
        assert_eq!(rig.processes(), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_somebody_else_is_named() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let _other = std::net::TcpListener::bind(rig.settings.listen).unwrap();
        let mut supervisor = rig.supervisor();
        let error = supervisor.apply("1-one", &rig.text("one")).await.unwrap_err();
        assert!(matches!(&error, ApplyError::NotRunning { source: StartError::Taken(_), .. }), "{error}");
        assert!(error.to_string().contains(&rig.settings.listen.to_string()), "{error}");
        assert_eq!(supervisor.last_good(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_passes_the_check_but_does_not_run_is_taken_back() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        let port = free_port();
        let _other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let elsewhere = bodies::render(kind, &Body { port, ..rig.body.clone() });
        let error = supervisor.apply("2-two", &elsewhere).await.unwrap_err();
        assert!(matches!(&error, ApplyError::NotRunning { source: StartError::Silent { .. }, .. }), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "the proxy's words are shown: {error}");
        assert_eq!((supervisor.running().await.as_deref(), rig.says().await.as_str()), (Some("1-one"), "one"));
        supervisor.apply("3-three", &rig.text("three")).await.unwrap();
        assert_eq!(rig.says().await, "three");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_sockets_are_no_obstacle() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.supervisor();
        for name in ["admin.sock", "ethereum.gone.sock"] {
            drop(UnixListener::bind(rig.folder().join("sock").join(name)).unwrap());
        }
        supervisor.apply("1-one", &rig.text("one")).await.unwrap();
        assert_eq!(rig.says().await, "one");
        assert!(!rig.folder().join("sock/ethereum.gone.sock").exists());
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_revision_is_there_for_the_next_start() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        let _ = supervisor.apply("3-bad", &bodies::broken(kind, &rig.body)).await;
        supervisor.stop().await.unwrap();
        drop(supervisor);

        let mut supervisor = rig.supervisor();
        let (name, text) = supervisor.last_good().unwrap();
        assert_eq!((name.as_str(), text.as_str()), ("2-two", rig.text("two").as_str()), "with references");
        supervisor.apply(&name, &text).await.unwrap();
        assert_eq!(rig.says().await, "two");
        supervisor.stop_now().await.unwrap();
        drop(supervisor);

        let file = rig.folder().join("last-good");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(rig.supervisor().last_good(), None);
    }
}
