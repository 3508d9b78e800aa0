//! The same over HTTP/2, where nothing need announce a body.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::net::TcpStream;

use super::{GOOD, Rig};
use crate::client::CALL;

const MIB: usize = 1 << 20;

async fn connect(port: u16) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Sends a body in these pieces; status and body of the answer, or nothing if the stream was reset.
async fn send(
    client: &SendRequest<Bytes>,
    path: &str,
    lines: &[(&str, &str)],
    pieces: &[&[u8]],
) -> Option<(u16, Vec<u8>)> {
    let mut client = client.clone().ready().await.ok()?;
    let mut request = Request::builder().method(Method::POST).uri(format!("http://x{path}"));
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let (answer, mut stream) = client.send_request(request.body(()).unwrap(), pieces.is_empty()).unwrap();
    for (index, piece) in pieces.iter().enumerate() {
        // The answer may come first.
        let _ = stream.send_data(Bytes::copy_from_slice(piece), index + 1 == pieces.len());
    }
    let mut answer = answer.await.ok()?;
    let mut body = Vec::new();
    while let Some(data) = answer.body_mut().data().await {
        let data = data.ok()?;
        let _ = answer.body_mut().flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    Some((answer.status().as_u16(), body))
}

#[tokio::test]
async fn bodies_in_one_piece_and_in_many() {
    let rig = Rig::new().await;
    let client = connect(rig.port()).await;
    let tiny: Vec<_> = CALL.as_bytes().chunks(1).collect();
    let mut with_empty = vec![&b""[..]; 20];
    with_empty.push(CALL.as_bytes());
    with_empty.push(b"");
    let length = CALL.len().to_string();
    for (lines, pieces) in [
        (vec![], vec![CALL.as_bytes()]),
        (vec![("content-length", &*length)], vec![CALL.as_bytes()]),
        (vec![], tiny.clone()),
        (vec![("content-length", &length)], tiny),
        (vec![], with_empty),
        (vec![("expect", "100-continue")], vec![CALL.as_bytes()]),
    ] {
        let before = rig.node.count();
        let (status, body) = send(&client, GOOD, &lines, &pieces).await.unwrap();
        assert_eq!((status, body.is_empty()), (200, false), "{lines:?}");
        assert_eq!(
            (&rig.node.seen()[before].body[..], &rig.gate.seen()[before].body[..]),
            (CALL.as_bytes(), CALL.as_bytes())
        );
    }
    let large = vec![b'x'; MIB];
    for (length, allowed) in [(MIB, &[200, 413][..]), (MIB / 2, &[200])] {
        let (status, _) = send(&client, GOOD, &[], &[&large[..length]]).await.unwrap();
        assert!(allowed.contains(&status), "{length}: {status}");
    }
    rig.assert_nothing_passed_unseen();
}

#[tokio::test]
async fn what_has_no_body_a_wrong_length_or_too_much() {
    let rig = Rig::new().await;
    for (lines, pieces) in [
        (vec![], vec![]),
        (vec![("content-length", "0")], vec![]),
        (vec![], vec![&b""[..]]),
        (vec![("content-length", "5")], vec![CALL.as_bytes()]),
        (vec![("content-length", "500")], vec![CALL.as_bytes()]),
        (vec![("content-encoding", "gzip")], vec![CALL.as_bytes()]),
    ] {
        let client = connect(rig.port()).await;
        if let Some((status, _)) = send(&client, GOOD, &lines, &pieces).await {
            assert!((400..500).contains(&status), "{lines:?}: {status}");
        }
    }
    let client = connect(rig.port()).await;
    let large = vec![b'x'; MIB + 1];
    if let Some((status, _)) = send(&client, GOOD, &[], &[&large]).await {
        assert_eq!(status, 413);
    }
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0));
}

#[tokio::test]
async fn many_at_once_are_not_mixed_up() {
    let rig = Rig::new().await;
    let client = connect(rig.port()).await;
    let calls = (0..50_usize).map(|n| {
        let client = client.clone();
        let path = if n.is_multiple_of(5) { "/main/v3/nw_r402" } else { GOOD };
        let body = format!("{{\"id\":{n},\"pad\":\"{}\"}}", "x".repeat(n * 40));
        async move {
            let pieces: Vec<_> = body.as_bytes().chunks(100).collect();
            let (status, answer) = send(&client, path, &[], &pieces).await.unwrap();
            assert_eq!(status, if n.is_multiple_of(5) { 402 } else { 200 });
            if status == 402 {
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!(answer["length"], body.len());
            }
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(rig.gate.asked("/gate").len(), 50);
    assert_eq!(rig.assert_nothing_passed_unseen(), 40);
}
