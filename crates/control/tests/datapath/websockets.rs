//! WebSockets are handed through.

use nodeweir_domain::config::ProxyKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::request;
use crate::nodes::{nobody, websocket_echo};
use crate::rosters::{main_of, plain, with_ws};
use crate::support::Proxy;

const HANDSHAKE: &str = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://dapp.example\r\nCookie: a=b\r\n\r\n";

/// A masked text frame that says `ping`.
const FRAME: [u8; 10] = [0x81, 0x84, 1, 2, 3, 4, b'p' ^ 1, b'i' ^ 2, b'n' ^ 3, b'g' ^ 4];

/// Opens a WebSocket, sends a frame, returns the head of the response and what came after it.
async fn open(port: u16, path: &str) -> (String, [u8; 10]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{HANDSHAKE}").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut echoed = [0; 10];
    for _ in 0..3 {
        stream.write_all(&FRAME).await.unwrap();
        stream.read_exact(&mut echoed).await.unwrap();
    }
    (head.to_lowercase(), echoed)
}

#[tokio::test]
async fn frames_go_both_ways() {
    for kind in ProxyKind::ALL {
        let direct = websocket_echo("/").await;
        let by_path = websocket_echo("/ws/path").await;
        for url in [format!("ws://{direct}"), format!("ws://{by_path}/ws/path")] {
            // One that cannot do it stands beside, and one that is away is passed over.
            let members = vec![
                plain("other", nobody()),
                with_ws(plain("away", nobody()), &format!("ws://{}", nobody())),
                with_ws(plain("echo", nobody()), &url),
            ];
            let proxy = Proxy::start(kind, &main_of(members, None)).await;
            for path in ["/ws/v3", "/ws/v3/key", "/main/ws/v3", "/main/ws/v3/key?x=1", "/main/ws/v2/key"] {
                let (head, echoed) = open(proxy.port, path).await;
                assert_eq!(echoed, FRAME, "{kind} {path}");
                assert!(head.contains("x-rpc-endpoint: echo\r\n"), "{kind} {head}");
                assert!(head.contains("x-request-id: "), "{kind} {head}");
            }
        }
    }
}

#[tokio::test]
async fn the_leader_takes_them_when_nobody_else_can() {
    for kind in ProxyKind::ALL {
        let echo = websocket_echo("/").await;
        let leader = with_ws(plain("leader", nobody()), &format!("ws://{echo}"));
        let proxy = Proxy::start(kind, &main_of(vec![plain("own", nobody())], Some(leader))).await;
        let (head, _) = open(proxy.port, "/ws/v3").await;
        assert!(head.contains("x-rpc-endpoint: leader\r\n"), "{kind} {head}");
    }
    let echo = websocket_echo("/").await;
    let leader = with_ws(plain("leader", nobody()), &format!("ws://{echo}"));
    let own = with_ws(plain("own", nobody()), &format!("ws://{}", nobody()));
    let proxy = Proxy::start(ProxyKind::Nginx, &main_of(vec![own], Some(leader))).await;
    assert!(open(proxy.port, "/ws/v3").await.0.contains("x-rpc-endpoint: leader\r\n"));
}

#[tokio::test]
async fn without_one_there_is_json() {
    for kind in ProxyKind::ALL {
        let proxy = Proxy::start(kind, &main_of(vec![plain("own", nobody())], None)).await;
        let upgrade = [
            "Upgrade: websocket",
            "Connection: Upgrade, close",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let reply = request(proxy.port, "GET", "/main/ws/v3", &upgrade, "").await;
        reply.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        let reply = request(proxy.port, "GET", "/unknown/ws/v3", &upgrade, "").await;
        reply.expect_error(404, -32600, "INVALID_REQUEST");
        request(proxy.port, "GET", "/main/ws/v3", &[], "").await.expect_error(400, -32600, "INVALID_REQUEST");
        let reply = request(proxy.port, "POST", "/main/ws/v3", &[], "{}").await;
        reply.expect_error(405, -32600, "INVALID_REQUEST");
        assert_eq!(reply.header("Allow"), Some("GET, OPTIONS"));
    }
}
