//! The log of what was used: set aside under load, and not a line lost.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nodeweir_control::proxy::Supervisor;
use nodeweir_domain::config::ProxyKind;

use crate::client::Connection;
use crate::rig::{Rig, processes_in, until};

/// A revision that writes a long line for each request: 8 MiB are soon full.
fn metered(rig: &Rig, name: &str) -> String {
    let log = format!(
        "log_format usage '$arg_id {}';\n    access_log usage/requests.log usage buffer=64k flush=1s;\n    server {{",
        "x".repeat(1500)
    );
    rig.text(name).replacen("access_log /dev/stdout;", "", 1).replacen("server {", &log, 1)
}

/// Every file of the log, oldest first, the current one last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("usage")) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|file| (file.ends_with("requests.log"), file.clone()));
    files
}

/// Counts each request's lines, and deletes the file.
fn read(file: &Path, seen: &mut HashMap<String, u32>) {
    for line in fs::read_to_string(file).unwrap().lines() {
        let (id, rest) = line.split_once(' ').unwrap_or_else(|| panic!("not a whole line: {line:?}"));
        assert_eq!(rest.len(), 1500);
        *seen.entry(id.to_owned()).or_default() += 1;
    }
    fs::remove_file(file).unwrap();
}

/// Whether a process of the proxy has a renamed file open. One that was started while they were looked at may have it.
fn is_held(folder: &Path) -> bool {
    let processes = processes_in(folder);
    let holds = |pid: &i32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let names = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        names.into_iter().any(|name| name.to_string_lossy().contains("requests.log."))
    };
    processes.iter().any(holds) || processes_in(folder) != processes
}

/// Clients that count their answered requests, each with a number of its own.
async fn load(port: u16, stop: Arc<AtomicBool>, next: Arc<AtomicU64>) -> Vec<u64> {
    let mut answered = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let mut kept = match connection.take() {
            Some(kept) => kept,
            None => Connection::open(port).await.unwrap(),
        };
        let answer = kept.get(&format!("/text?id={id}")).await.unwrap();
        assert_eq!(answer.status, 200);
        answered.push(id);
        connection = (!answer.close).then_some(kept);
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_doubled_over_twenty_rotations() {
    let mut rig = Rig::new(ProxyKind::Nginx).await;
    // A slow machine needs minutes for so many requests, and the slow one has to last as long.
    rig.bound_shutdown(600);
    let mut supervisor = rig.supervisor();
    supervisor.apply("1-one", &metered(&rig, "one")).await.unwrap();
    // A client that stays on an earlier worker keeps that one alive across reloads.
    let slow = rig.slow_request().await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..16).map(|_| tokio::spawn(load(rig.body.port, stop.clone(), next.clone()))).collect();
    let (mut rotations, mut seen) = (0, HashMap::new());
    while rotations < 20 {
        supervisor.upkeep().unwrap();
        let renamed: Vec<_> = files(&rig.folder()).into_iter().filter(|file| !file.ends_with("requests.log")).collect();
        if renamed.is_empty() || is_held(&rig.folder()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        for file in renamed {
            read(&file, &mut seen);
            rotations += 1;
            if rotations % 6 == 0 {
                let name = format!("{rotations}-more");
                supervisor.apply(&name, &metered(&rig, &name)).await.unwrap();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    for client in clients {
        answered.extend(client.await.unwrap());
    }
    rig.node.release(1);
    assert_eq!(slow.await.unwrap().unwrap().body, "slow");
    supervisor.stop().await.unwrap();
    for file in files(&rig.folder()) {
        read(&file, &mut seen);
    }
    assert!(answered.len() > 20 * 8 * 1024 * 1024 / 1600, "{}", answered.len());
    // The slow request has no number, and is logged all the same.
    assert_eq!(seen.remove("-"), Some(1));
    let bad: Vec<_> = answered.iter().filter(|id| seen.get(&id.to_string()) != Some(&1)).take(10).collect();
    assert!(bad.is_empty(), "each is there once, but not {bad:?}");
    assert_eq!(seen.len(), answered.len());
}

async fn started(rig: &Rig) -> Supervisor {
    let mut supervisor = rig.supervisor();
    supervisor.apply("1-one", &metered(rig, "one")).await.unwrap();
    supervisor
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_private_and_goes_when_nothing_is_left_to_read() {
    let rig = Rig::new(ProxyKind::Nginx).await;
    let mut supervisor = started(&rig).await;
    let folder = fs::canonicalize(rig.folder().join("usage")).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    supervisor.stop().await.unwrap();
    assert!(!folder.exists() && fs::symlink_metadata(rig.folder().join("usage")).is_err());

    // What was not read is kept, also for the next one.
    drop(supervisor);
    let mut supervisor = started(&rig).await;
    rig.get("/text?id=1").await.unwrap();
    supervisor.stop().await.unwrap();
    drop(supervisor);
    let mut supervisor = started(&rig).await;
    rig.get("/text?id=2").await.unwrap();
    supervisor.stop().await.unwrap();
    drop(supervisor);
    let [unread] = files(&rig.folder()).try_into().unwrap();
    let mut seen = HashMap::new();
    read(&unread, &mut seen);
    assert_eq!(seen, HashMap::from([("1".to_owned(), 1), ("2".to_owned(), 1)]));
    started(&rig).await.stop().await.unwrap();
    assert!(fs::symlink_metadata(rig.folder().join("usage")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_vanishes_is_made_anew() {
    let rig = Rig::new(ProxyKind::Nginx).await;
    let mut supervisor = started(&rig).await;
    fs::remove_dir_all(fs::canonicalize(rig.folder().join("usage")).unwrap()).unwrap();
    supervisor.upkeep().unwrap();
    let log = rig.folder().join("usage/requests.log");
    until("nginx writes there", || async {
        rig.get("/text?id=1").await.unwrap();
        fs::metadata(&log).is_ok_and(|file| file.len() > 0)
    })
    .await;
    supervisor.stop().await.unwrap();
    let mut seen = HashMap::new();
    for file in files(&rig.folder()) {
        read(&file, &mut seen);
    }
    supervisor.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_is_deleted_and_told() {
    let mut rig = Rig::new(ProxyKind::Nginx).await;
    let mut supervisor = started(&rig).await;
    let usage = rig.folder().join("usage");
    for number in 1..=33 {
        let file = fs::File::create(usage.join(format!("requests.log.{number:015}"))).unwrap();
        file.set_len(8 << 20).unwrap();
    }
    supervisor.upkeep().unwrap();
    supervisor.upkeep().unwrap();
    let told: Vec<_> = rig.said().into_iter().filter(|line| line.contains("had to be deleted")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("8388608 bytes"), "{told:?}");
    let left = files(&rig.folder());
    assert_eq!((left.len(), left[0].extension().unwrap().to_str()), (33, Some("000000000000002")));
    supervisor.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_writes_none_has_no_folder() {
    for kind in ProxyKind::ALL {
        let rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        supervisor.upkeep().unwrap();
        assert!(fs::symlink_metadata(rig.folder().join("usage")).is_err());
        supervisor.stop().await.unwrap();
    }
}

/// The gate's own process listens among the proxy's sockets, before the proxy and after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_gate_s_socket_is_left_alone() {
    let rig = Rig::new(ProxyKind::Nginx).await;
    let mut supervisor = rig.supervisor();
    let socket = rig.folder().join("sock/gate.sock");
    let _gate = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let start = std::time::Instant::now();
    supervisor.apply("1-one", &rig.text("one")).await.unwrap();
    supervisor.stop_now().await.unwrap();
    supervisor.apply("1-one", &rig.text("one")).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "nothing waits for it to go");
    supervisor.stop().await.unwrap();
    std::os::unix::net::UnixStream::connect(&socket).unwrap();
}

/// Lua is where the supervisor says it is: nginx starts with it, and after a reload still has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_may_use_lua() {
    let rig = Rig::new(ProxyKind::Nginx).await;
    let with_lua = |name: &str| {
        let says = "location = /lua { content_by_lua_block { ngx.print(1 + 1) } }\n        location = /text";
        let text = rig.text(name).replacen("location = /text", says, 1);
        let text = text.replacen("include host-main.conf;", "include host-main.conf;\ninclude host-lua-main.conf;", 1);
        text.replacen("include host-http.conf;", "include host-http.conf;\n    include host-lua-http.conf;", 1)
    };
    let mut supervisor = rig.started().await;
    for name in ["2-two", "3-three"] {
        supervisor.apply(name, &with_lua(name)).await.unwrap();
        let answer = rig.get("/lua").await.unwrap();
        assert_eq!(answer.status, 200, "{name}");
    }
    supervisor.stop().await.unwrap();
}
