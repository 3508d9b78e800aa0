//! Whatever is killed, the next step puts it right.

use std::time::Duration;

use nodeweir_control::proxy::{FolderError, Program, Settings, StartError, Supervisor};
use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::Connection;
use crate::rig::{DEADLINE, Rig, kill, until};

fn pid(supervisor: &Supervisor) -> i32 {
    supervisor.pid().unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxy_is_noticed_and_started_again() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        let nothing = timeout(Duration::from_millis(50), supervisor.exited()).await;
        assert!(nothing.is_err(), "it runs");
        let before = rig.all_processes().await;
        kill(pid(&supervisor), Signal::KILL);
        let exited = timeout(DEADLINE, supervisor.exited()).await.unwrap();
        assert!(exited.to_string().contains("signal 9"), "{exited}");
        supervisor.restart().await.unwrap();
        assert_eq!((supervisor.running().await.as_deref(), rig.says().await.as_str()), (Some("1-one"), "one"));
        until("workers without a master are gone", || async {
            !rig.processes().iter().any(|pid| before.contains(pid))
        })
        .await;
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.says().await, "two");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_notices_a_dead_proxy_itself() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        kill(pid(&supervisor), Signal::KILL);
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.says().await, "two");
        supervisor.stop_now().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_leaves_a_serving_proxy_to_the_next_one() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        let supervisor = rig.started().await;
        let error =
            Supervisor::new(Program::find(kind).unwrap(), rig.folder(), rig.settings, |_| None, mpsc::channel(1).0);
        assert!(matches!(error.err(), Some(FolderError::InUse(_))), "two at a time");
        let before = rig.all_processes().await;
        let request = rig.slow_request().await;
        drop(supervisor);
        assert_eq!(rig.says().await, "one", "it goes on serving");

        let mut supervisor = rig.supervisor();
        assert_eq!(supervisor.running().await.as_deref(), Some("1-one"), "of the earlier one");
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!((supervisor.running().await.as_deref(), rig.says().await.as_str()), (Some("2-two"), "two"));
        rig.node.release(1);
        assert_eq!(request.await.unwrap().unwrap().body, "slow", "it was in flight in the earlier proxy");
        until("the earlier proxy is gone", || async { !rig.processes().iter().any(|pid| before.contains(pid)) }).await;
        for _ in 0..10 {
            assert_eq!(supervisor.running().await.as_deref(), Some("2-two"), "its end took no socket away");
        }
        assert!(rig.said().iter().any(|line| line.contains("of an earlier")), "the takeover is told");
        supervisor.apply("3-three", &rig.text("three")).await.unwrap();
        supervisor.stop().await.unwrap();
        assert_eq!(rig.processes(), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_and_its_master_both_killed_leave_no_obstacle() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let supervisor = rig.started().await;
        kill(pid(&supervisor), Signal::KILL);
        drop(supervisor);
        let mut supervisor = rig.supervisor();
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.says().await, "two");
        supervisor.stop().await.unwrap();
        assert_eq!(rig.processes(), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_in_the_folder_is_touched() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.supervisor();
        // Works there, and even names the files, but is no proxy.
        let mut bystander = tokio::process::Command::new("sh")
            .args(["-c", "read x", "nginx.conf", "host.cfg", "haproxy.cfg"])
            .stdin(std::process::Stdio::piped())
            .current_dir(rig.folder())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        supervisor.apply("1-one", &rig.text("one")).await.unwrap();
        supervisor.stop().await.unwrap();
        assert!(bystander.try_wait().unwrap().is_none(), "it still runs");
        bystander.kill().await.unwrap();
    }
}

/// Not a test by itself: the supervisor that the next test kills, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn supervisor_process() {
    let Ok(order) = std::env::var("SUPERVISE") else { return };
    let [kind, port, folder, text] = order.splitn(4, '|').collect::<Vec<_>>().try_into().unwrap();
    let kind = ProxyKind::ALL.into_iter().find(|one| one.as_str() == kind).unwrap();
    let settings = Settings {
        listen: ([127, 0, 0, 1], port.parse().unwrap()).into(),
        drain: Duration::ZERO,
        shutdown: Duration::from_secs(20),
    };
    let (sender, _lines) = mpsc::channel(10);
    let program = Program::find(kind).unwrap();
    let mut supervisor = Supervisor::new(program, folder, settings, |_| Some("x".to_owned()), sender).unwrap();
    supervisor.apply("1-one", text).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_killed_for_real_takes_no_request_with_it() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::supervisor_process"])
            .env("SUPERVISE", format!("{kind}|{}|{}|{}", rig.body.port, rig.folder().display(), rig.text("one")))
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("it has started the proxy", || async { rig.get("/text").await.is_ok() }).await;
        let request = rig.slow_request().await;
        process.kill().await.unwrap();
        let mut connection = Connection::open(rig.body.port).await.unwrap();
        for _ in 0..500 {
            // Nobody reads its access log any more.
            assert_eq!(connection.get("/").await.unwrap().status, 200);
        }
        let mut supervisor = rig.supervisor();
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.says().await, "two");
        rig.node.release(1);
        assert_eq!(request.await.unwrap().unwrap().body, "slow");
        supervisor.stop().await.unwrap();
        assert_eq!(rig.processes(), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_fails_is_asked_for_again() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        kill(pid(&supervisor), Signal::KILL);
        timeout(DEADLINE, supervisor.exited()).await.unwrap();
        until("its workers are gone", || async {
            rig.processes().into_iter().for_each(|pid| kill(pid, Signal::KILL));
            rig.processes().is_empty()
        })
        .await;
        // A dying process lets go of its port after its folder.
        let mut other = None;
        until("the port is free", || {
            other = std::net::TcpListener::bind(rig.settings.listen).ok();
            std::future::ready(other.is_some())
        })
        .await;
        let error = supervisor.restart().await.unwrap_err();
        assert!(matches!(error, StartError::Taken(_)), "{error}");
        let again = timeout(DEADLINE, supervisor.exited()).await.unwrap();
        assert!(again.to_string().contains("does not run"), "{again}");
        drop(other);
        supervisor.restart().await.unwrap();
        assert_eq!(rig.says().await, "one");
        supervisor.stop_now().await.unwrap();
        assert!(timeout(Duration::from_millis(50), supervisor.exited()).await.is_err(), "stopped is as it should be");
    }
}
