//! The gate's process is not there, or not itself.

use std::path::Path;
use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};
use tokio::task::JoinHandle;

use super::{GOOD, Gate, Rig};
use crate::client::{CALL, call};
use crate::nodes::{Does, Node, nobody};
use crate::rosters::{main_of, plain};
use crate::support::{Proxy, Settings};

/// What may stand in the gate's place.
const IMPOSTORS: [&str; 9] = ["none", "left", "hang-up", "cut", "500", "200", "201", "401", "hang"];

/// Makes one of them at a socket.
fn impersonate(what: &'static str, socket: &Path) -> Option<JoinHandle<()>> {
    let _ = std::fs::remove_file(socket);
    if what == "none" {
        return None;
    }
    let listener = UnixListener::bind(socket).unwrap();
    if what == "left" {
        // The socket stays, and nobody listens.
        return None;
    }
    Some(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if what == "hang-up" {
                    return;
                }
                let mut some = [0; 4096];
                let _ = stream.read(&mut some).await;
                match what {
                    "cut" => {}
                    "hang" => std::future::pending().await,
                    status => {
                        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n<html/>");
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                }
            });
        }
    }))
}

/// A gate that answers one question so, and is gone.
pub(super) fn answers_once(socket: &Path, head: &'static str) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut some = [0; 4096];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    })
}

/// nginx whose gate's socket nobody made yet.
async fn alone(gate: &'static str) -> (Proxy, Node) {
    let node = Node::start("node", Does::Answer).await;
    let settings = Settings { gate, ..Settings::default() };
    let rosters = main_of(vec![plain("node", node.at)], None);
    (Proxy::start_with(ProxyKind::Nginx, &rosters, &settings).await, node)
}

#[tokio::test]
async fn closed_lets_nobody_pass_whatever_is_there() {
    let (proxy, node) = alone("{}").await;
    let socket = proxy.folder.path().join("sock/gate.sock");
    for what in IMPOSTORS {
        let server = impersonate(what, &socket);
        for _ in 0..3 {
            call(proxy.port, GOOD).await.expect_error(503, -32603, "GATE_UNAVAILABLE");
        }
        server.inspect(JoinHandle::abort);
    }
    assert_eq!(node.count(), 0);
}

#[tokio::test]
async fn open_lets_pass_only_when_nobody_is_there() {
    let (proxy, node) = alone("{when_away: open}").await;
    let socket = proxy.folder.path().join("sock/gate.sock");
    for what in IMPOSTORS {
        let before = node.count();
        let server = impersonate(what, &socket);
        for _ in 0..3 {
            let reply = call(proxy.port, GOOD).await;
            if ["none", "left"].contains(&what) {
                assert_eq!(reply.answered_by(), "node", "{what}");
                assert_eq!((reply.header("X-RateLimit-Limit"), reply.header("X-Credits-Cost")), (None, None));
            } else {
                reply.expect_error(503, -32603, "GATE_UNAVAILABLE");
            }
        }
        assert_eq!(node.count() - before, if ["none", "left"].contains(&what) { 3 } else { 0 }, "{what}");
        server.inspect(JoinHandle::abort);
    }
    assert!(node.seen().iter().all(|seen| seen.body == CALL));
    let used = std::fs::read_to_string(proxy.folder.path().join("usage/requests.log")).unwrap();
    assert_eq!(used, "", "nobody is charged");
}

/// Killed with the question in its hands: it may have answered, so nobody passes who was asked about.
#[tokio::test]
async fn open_stays_closed_for_who_was_asked_about() {
    let (proxy, node) = alone("{when_away: open}").await;
    let listener = UnixListener::bind(proxy.folder.path().join("sock/gate.sock")).unwrap();
    let killed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    });
    call(proxy.port, GOOD).await.expect_error(503, -32603, "GATE_UNAVAILABLE");
    killed.await.unwrap();
    assert_eq!(node.count(), 0);
    assert_eq!(call(proxy.port, GOOD).await.answered_by(), "node", "the next one meets nobody");
}

/// One that is too busy to accept is there: a flood of connections opens nothing.
#[tokio::test]
async fn open_stays_closed_while_the_gate_is_too_busy_to_accept() {
    let (proxy, node) = alone("{when_away: open}").await;
    let socket = proxy.folder.path().join("sock/gate.sock");
    let listener = UnixSocket::new_stream().unwrap();
    listener.bind(&socket).unwrap();
    let listener = listener.listen(1).unwrap();
    // Now the queue of those that wait to be accepted is full.
    let waiting: Vec<_> = (0..2).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    call(proxy.port, GOOD).await.expect_error(503, -32603, "GATE_UNAVAILABLE");
    assert_eq!(node.count(), 0);
    drop((waiting, listener));
}

#[tokio::test]
async fn by_tcp_it_is_the_same() {
    for (policy, is_open) in [("closed", false), ("open", true)] {
        let at = nobody();
        let node = Node::start("node", Does::Answer).await;
        let gate = format!("{{when_away: {policy}, listen: '{at}'}}").leak();
        let rosters = main_of(vec![plain("node", node.at)], None);
        let settings = Settings { gate, ..Settings::default() };
        let proxy = Proxy::start_with(ProxyKind::Nginx, &rosters, &settings).await;
        let reply = call(proxy.port, GOOD).await;
        if is_open {
            assert_eq!(reply.answered_by(), "node");
        } else {
            reply.expect_error(503, -32603, "GATE_UNAVAILABLE");
        }
        assert_eq!(node.count(), usize::from(is_open));
    }
    // One that hangs up at once, with a reset, so that it looks as if it were not there.
    for reset in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if reset {
                    stream.set_zero_linger().unwrap();
                }
            }
        });
        let node = Node::start("node", Does::Answer).await;
        let gate = format!("{{when_away: open, listen: '{at}'}}").leak();
        let rosters = main_of(vec![plain("node", node.at)], None);
        let settings = Settings { gate, ..Settings::default() };
        let proxy = Proxy::start_with(ProxyKind::Nginx, &rosters, &settings).await;
        for _ in 0..20 {
            call(proxy.port, GOOD).await.expect_error(503, -32603, "GATE_UNAVAILABLE");
        }
        assert_eq!(node.count(), 0);
    }
    // And the gate itself.
    let (gate, node) = (Gate::default(), Node::start("node", Does::Answer).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = format!("{{listen: '{}'}}", listener.local_addr().unwrap()).leak();
    gate.listen_tcp(listener);
    let rosters = main_of(vec![plain("node", node.at)], None);
    let settings = Settings { gate: settings, awaits_gate: true, ..Settings::default() };
    let proxy = Proxy::start_with(ProxyKind::Nginx, &rosters, &settings).await;
    assert_eq!(call(proxy.port, GOOD).await.answered_by(), "node");
    assert_eq!(call(proxy.port, "/main/v3/nw_r402").await.status, 402);
}

/// A listener that never takes the connection: its queue is full, and the kernel lets further ones wait.
#[tokio::test]
async fn open_also_when_connecting_takes_too_long() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    let _listener = socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(at)).await
    {
        waiting.push(stream);
    }
    for (policy, is_open) in [("closed", false), ("open", true)] {
        let node = Node::start("node", Does::Answer).await;
        let gate = format!("{{when_away: {policy}, listen: '{at}'}}").leak();
        let rosters = main_of(vec![plain("node", node.at)], None);
        let settings = Settings { gate, ..Settings::default() };
        let proxy = Proxy::start_with(ProxyKind::Nginx, &rosters, &settings).await;
        let start = Instant::now();
        let reply = call(proxy.port, GOOD).await;
        // Left alone, nginx would wait for a minute.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        if is_open {
            assert_eq!(reply.answered_by(), "node");
        } else {
            reply.expect_error(503, -32603, "GATE_UNAVAILABLE");
        }
    }
}

#[tokio::test]
async fn a_hung_gate_is_given_up_after_two_seconds() {
    let (proxy, _node) = alone("{}").await;
    let server = impersonate("hang", &proxy.folder.path().join("sock/gate.sock"));
    let start = Instant::now();
    call(proxy.port, GOOD).await.expect_error(503, -32603, "GATE_UNAVAILABLE");
    // Left alone, nginx would wait for a minute.
    assert!((1900..20_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    server.inspect(JoinHandle::abort);
}

/// A restarted one has closed the connections that nginx keeps. Nobody notices once it is back.
#[tokio::test]
async fn a_restart_is_not_felt_after_it() {
    let mut rig = Rig::new().await;
    let socket = rig.proxy.folder.path().join("sock/gate.sock");
    for round in 0..5 {
        // So that several connections are kept.
        let calls = (0..16).map(|_| rig.call(GOOD));
        for reply in futures_util::future::join_all(calls).await {
            reply.answered_by();
        }
        rig.server.take();
        rig.server = Some(rig.gate.listen(&socket));
        let reply = rig.call(GOOD).await;
        assert_eq!(reply.answered_by(), "node", "round {round}");
    }
}
