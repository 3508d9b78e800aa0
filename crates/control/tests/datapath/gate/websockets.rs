//! A WebSocket's handshake is asked about like a call.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Rig, expect_verdict};
use crate::client::{CALL, request};
use crate::nodes::{Does, Node, nobody, websocket_echo};
use crate::rosters::{main_of, plain, with_ws};
use crate::support::Settings;

const UPGRADE: [&str; 5] = [
    "Upgrade: websocket",
    "Connection: Upgrade, close",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Origin: https://dapp.example",
];

async fn rig(ws_url: &str) -> Rig {
    let node = Node::start("node", Does::Answer).await;
    let rosters = main_of(vec![with_ws(plain("node", node.at), ws_url)], None);
    Rig::of(node, &rosters, &Settings { gate: "{}", ..Settings::default() }).await
}

#[tokio::test]
async fn it_is_opened_when_the_gate_lets_it() {
    let rig = rig(&format!("ws://{}", websocket_echo("/").await)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
    let head = UPGRADE.join("\r\n").replace(", close", "");
    let text = format!("GET /main/ws/v3/nw_good HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("x-ratelimit-limit: 50\r\n"), "{head}");
    stream.write_all(b"frame").await.unwrap();
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"frame");

    let [asked] = rig.gate.seen().try_into().unwrap();
    let said = |name: &str| asked.headers[name].to_str().unwrap();
    assert_eq!((said("X-Gate-Kind"), said("X-Gate-Path-Key")), ("ws", "nw_good"));
    assert_eq!((said("X-Gate-Origin"), said("X-Gate-Network")), ("https://dapp.example", "main"));
    assert_eq!((asked.uri.path(), asked.body.len()), ("/gate", 0));
    drop(stream);
    assert_eq!(rig.used(1).await[0]["status"], 101);
}

#[tokio::test]
async fn refused_or_failed_it_is_answered_by_the_gate() {
    let mut rig = rig(&format!("ws://{}", nobody())).await;
    let reply = request(rig.port(), "GET", "/main/ws/v3/nw_r403", &UPGRADE, "").await;
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (403, Some("403")));
    expect_verdict(&reply, None);
    let reply = request(rig.port(), "GET", "/main/ws/v3/nw_good", &UPGRADE, "").await;
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (503, Some("upstream-unavailable")));
    expect_verdict(&reply, Some("0"));
    rig.server.take();
    let reply = request(rig.port(), "GET", "/main/ws/v3/nw_good", &UPGRADE, "").await;
    reply.expect_error(503, -32603, "GATE_UNAVAILABLE");
}

#[tokio::test]
async fn without_a_server_the_gate_is_asked_first() {
    let rig = Rig::new().await;
    let reply = request(rig.port(), "GET", "/main/ws/v3/nw_r402", &UPGRADE, "").await;
    assert_eq!(reply.status, 402);
    let reply = request(rig.port(), "GET", "/main/ws/v3/nw_good", &UPGRADE, "").await;
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (503, Some("upstream-unavailable")));
}

/// A handshake with a body: the gate is shown none, so the node gets none.
#[tokio::test]
async fn a_body_does_not_pass_with_a_handshake() {
    let node = Node::start("node", Does::Answer).await;
    let rig = rig(&format!("ws://{}", node.at)).await;
    for lines in [&UPGRADE[..], &[&UPGRADE[..], &["Content-Encoding: gzip"]].concat()] {
        request(rig.port(), "GET", "/main/ws/v3/nw_good", lines, CALL).await;
    }
    assert_eq!(node.count(), 2);
    for seen in node.seen() {
        assert!(seen.body.is_empty() && !seen.headers.contains_key("content-length"), "{seen:?}");
        assert_eq!(seen.method, "GET");
    }
}
