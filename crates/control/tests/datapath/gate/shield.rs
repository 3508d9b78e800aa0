//! Floods of one address are shed before anything of a request is read.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{GOOD, Rig};
use crate::client::{CALL, Reply, raw, request, try_get};
use crate::support::until;

#[track_caller]
fn expect_shed(reply: &Reply) {
    assert_eq!((reply.status, reply.header("Retry-After")), (429, Some("01")), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    let body = reply.json();
    assert_eq!((&body["id"], body["error"]["code"].as_i64()), (&serde_json::Value::Null, Some(-32005)));
    assert_eq!(body["error"]["data"]["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(body["error"]["data"]["rate"]["backoff_seconds"], 1);
    assert_eq!((reply.header("X-RateLimit-Limit"), reply.header("X-Credits-Cost")), (None, None));
    reply.expect_usual_headers();
}

#[tokio::test]
async fn more_requests_than_allowed() {
    let rig = Rig::with("{shield: {requests_per_second: 1, connections: 100}}").await;
    let begun = Instant::now();
    let calls = (0..20).map(|_| rig.call(GOOD));
    let replies = futures_util::future::join_all(calls).await;
    let (passed, shed): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    // One, and a burst of two, and then one a second.
    let most = 4 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((3..=most).contains(&passed.len()) && !shed.is_empty(), "{}", passed.len());
    shed.iter().for_each(expect_shed);
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (passed.len(), passed.len()));

    // Not a byte of the body is there, and the answer is.
    let head = format!("POST {GOOD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n");
    let shed = until("one is shed", async || {
        let mut stream = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // One that passes the shield waits for its body until the end of the connection.
        let mut start = [0; 12];
        let read = tokio::time::timeout(std::time::Duration::from_millis(500), stream.read_exact(&mut start)).await;
        matches!(read, Ok(Ok(_))).then_some(start)
    });
    assert_eq!(&shed.await, b"HTTP/1.1 429");
    // A client that has sent it all before it reads gets the whole answer.
    let body = "x".repeat(500_000);
    let reply = until("one is shed", async || {
        let reply = raw(rig.port(), &[head.as_bytes(), body.as_bytes()]).await;
        (reply.status == 429).then_some(reply)
    });
    expect_shed(&reply.await);
    for _ in 0..20 {
        assert_eq!(try_get(rig.port(), "/livez").await.unwrap().status, 200, "what costs nothing is not counted");
    }
}

#[tokio::test]
async fn more_connections_than_allowed() {
    let rig = Rig::with("{shield: {requests_per_second: 1000, connections: 2}}").await;
    let head = format!("POST {GOOD} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // Whose body is asked for was let through, and is counted.
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 100");
        held.push(stream);
    }
    expect_shed(&rig.call(GOOD).await);
    drop(held);
    until("both are forgotten", async || (rig.call(GOOD).await.status == 200).then_some(())).await;
}

/// Behind a load balancer it is the clients that are told apart.
#[tokio::test]
async fn each_address_is_bound_by_itself() {
    let rig = Rig::with("{trusted_proxies: [127.0.0.1], shield: {requests_per_second: 1, connections: 100}}").await;
    for client in 1..30 {
        let from = format!("X-Forwarded-For: 203.0.113.{client}");
        assert_eq!(request(rig.port(), "POST", GOOD, &[&from], CALL).await.answered_by(), "node");
    }
}
