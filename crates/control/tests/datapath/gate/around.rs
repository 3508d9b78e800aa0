//! Every known way around the gate: whatever is sent, what a node saw the gate saw, whole, or the node saw nothing.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{GOOD, Rig};
use crate::client::{CALL, raw, request};

const MIB: usize = 1 << 20;

/// A request with these lines in its head, and whatever bytes behind it.
fn with_head(lines: &[&str], rest: &str) -> String {
    let mut text = format!("POST {GOOD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for line in lines {
        text += line;
        text += "\r\n";
    }
    text + "\r\n" + rest
}

fn chunked(chunks: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for chunk in chunks {
        write!(text, "{:x}\r\n{}\r\n", chunk.as_ref().len(), chunk.as_ref()).unwrap();
    }
    with_head(&["Transfer-Encoding: chunked"], &(text + "0\r\n\r\n"))
}

fn one_by_one(body: &str) -> String {
    chunked((0..body.len()).map(|at| &body[at..=at]))
}

#[tokio::test]
async fn bodies_in_pieces() {
    let rig = Rig::new().await;
    let pieces = chunked([&CALL[..9], &CALL[9..]].into_iter());
    let extended = with_head(
        &["Transfer-Encoding: chunked"],
        &format!("{:x};name=value\r\n{CALL}\r\n0\r\nX-Gate-Project: trailer\r\n\r\n", CALL.len()),
    );
    for text in [one_by_one(CALL), pieces, extended] {
        let before = rig.node.count();
        assert_eq!(raw(rig.port(), &[text.as_bytes()]).await.answered_by(), "node");
        assert_eq!(rig.node.seen()[before].body, CALL);
        assert_eq!(rig.gate.seen()[before].body, CALL);
    }
    // So many tiny chunks do not fit into the buffer, though the body would; on disk the gate could not see it.
    let reply = raw(rig.port(), &[one_by_one(&"x".repeat(250_000)).as_bytes()]).await;
    reply.expect_error(413, -32600, "REQUEST_TOO_LARGE");
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (3, 3));
}

#[tokio::test]
async fn a_slow_body_is_waited_for_and_shown_whole() {
    let rig = Rig::new().await;
    let mut slow = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
    let head = with_head(&[&format!("Content-Length: {}", CALL.len())], "");
    slow.write_all(head.as_bytes()).await.unwrap();
    for at in 0..CALL.len() {
        assert_eq!(rig.gate.seen().len(), at, "nothing is asked before the body is there");
        rig.call("/main/v3/nw_r402").await;
        rig.gate.seen.lock().unwrap().retain(|seen| seen.uri.path() == "/gate");
        slow.write_all(&CALL.as_bytes()[at..=at]).await.unwrap();
    }
    slow.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(rig.gate.seen().last().unwrap().body, CALL);
    assert_eq!(rig.assert_nothing_passed_unseen(), 1);
}

#[tokio::test]
async fn lengths_up_to_the_limit() {
    let rig = Rig::new().await;
    for (length, status) in [(MIB, 200), (MIB + 1, 413)] {
        let body = "x".repeat(length);
        assert_eq!(request(rig.port(), "POST", GOOD, &[], &body).await.status, status);
        let whole = raw(rig.port(), &[chunked([&body].into_iter()).as_bytes()]).await;
        let halves =
            raw(rig.port(), &[chunked([&body[..length / 2], &body[length / 2..]].into_iter()).as_bytes()]).await;
        for reply in [whole, halves] {
            // With its framing a body of just the limit may not fit.
            assert!(reply.status == 413 || reply.status == status, "{reply:?}");
        }
    }
    assert!(rig.assert_nothing_passed_unseen() >= 1);
    assert_eq!((rig.node.seen()[0].body.len(), rig.gate.seen()[0].body.len()), (MIB, MIB));
}

#[tokio::test]
async fn bodies_that_are_none() {
    let rig = Rig::new().await;
    for text in [
        chunked(std::iter::empty::<&str>()),
        with_head(&["Transfer-Encoding: chunked"], "000000\r\n\r\n"),
        with_head(&["Content-Length: 0"], ""),
        with_head(&[], ""),
        with_head(&[], CALL),
    ] {
        raw(rig.port(), &[text.as_bytes()]).await.expect_error(400, -32600, "INVALID_REQUEST");
    }
    let mut short = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
    short.write_all(with_head(&["Content-Length: 100"], CALL).as_bytes()).await.unwrap();
    short.shutdown().await.unwrap();
    short.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0));
}

#[tokio::test]
async fn bodies_whose_end_is_a_matter_of_opinion() {
    let rig = Rig::new().await;
    let length = format!("Content-Length: {}", CALL.len());
    let chunks = format!("{:x}\r\n{CALL}\r\n0\r\n\r\n", CALL.len());
    for (lines, body) in [
        (vec![&*length, "Content-Length: 5"], CALL),
        (vec!["Content-Length: 5", &length], CALL),
        (vec![&length, &length], CALL),
        (vec!["Content-Length: +5"], CALL),
        (vec!["Content-Length: 5, 5"], CALL),
        (vec!["Content-Length: 0x10"], CALL),
        (vec![&length, "Transfer-Encoding: chunked"], &chunks),
        (vec!["Transfer-Encoding: chunked", "Content-Length: 5"], &chunks),
        (vec!["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], &chunks),
        (vec!["Transfer-Encoding: identity"], CALL),
        (vec!["Transfer-Encoding: gzip, chunked"], &chunks),
        (vec!["Transfer-Encoding: chunked, identity"], &chunks),
        (vec!["Transfer-Encoding : chunked"], &chunks),
        (vec!["Content-Encoding: gzip", &length], CALL),
        (vec!["Content-Encoding: identity", &length], CALL),
        (vec!["Transfer-Encoding: chunked"], "5\r\nabcdefgh\r\n0\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked"], "-5\r\nabcde\r\n0\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked"], "fffffffffffffffff\r\nabcde\r\n0\r\n\r\n"),
    ] {
        let reply = raw(rig.port(), &[with_head(&lines, body).as_bytes()]).await;
        assert!((400..502).contains(&reply.status), "{lines:?}: {reply:?}");
        assert_eq!(rig.node.count(), 0, "{lines:?}");
    }
    let old = chunked([CALL].into_iter()).replace("HTTP/1.1", "HTTP/1.0");
    assert_ne!(raw(rig.port(), &[old.as_bytes()]).await.status, 200);
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0));
}

#[tokio::test]
async fn heads_that_carry_too_much() {
    let rig = Rig::new().await;
    let many: Vec<_> = (0..110).map(|n| format!("X-Header-{n}: {n}")).collect();
    let mut sets = vec![many.iter().map(String::as_str).collect::<Vec<_>>()];
    sets.push(vec!["Expect: 100-continue"]);
    sets.push(vec!["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]);
    sets.push(vec!["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]);
    sets.push(vec!["X-HTTP-Method-Override: GET", "X-Original-URL: /-/gate", "X-Accel-Redirect: /-/late"]);
    sets.push(vec!["X-Gate-Kind: ws", "X-Gate-Network: other", "X-Gate-Refusal: 200", "x_gate_project: x"]);
    sets.push(vec!["Content-Type: multipart/form-data", "Transfer-encodinG:"]);
    for lines in sets {
        let before = rig.node.count();
        let reply = request(rig.port(), "POST", GOOD, &lines, CALL).await;
        assert_eq!(reply.status, if rig.node.count() > before { 200 } else { reply.status.max(400) }, "{lines:?}");
        for asked in rig.gate.asked("/gate") {
            assert_eq!(
                (&asked.headers["X-Gate-Kind"], &asked.headers["X-Gate-Network"]),
                (&"rpc".parse().unwrap(), &"main".parse().unwrap())
            );
            assert!(asked.headers.len() < 10, "{:?}", asked.headers);
        }
    }
    assert!(rig.assert_nothing_passed_unseen() >= 6);
    assert!(rig.gate.asked("/refusal").is_empty());
}

#[tokio::test]
async fn addresses_within() {
    let rig = Rig::new().await;
    for path in [
        "/-/rpc",
        "/-/ws",
        "/-/gate",
        "/-/limited",
        "/-/gate-unavailable",
        "//-/rpc",
        "/%2D/rpc",
        "/-%2Frpc",
        "/./-/gate",
        "/main/../-/gate",
        "/@rpc",
        "/@gate",
        "@rpc",
        "/refusal",
        "/gate",
    ] {
        let reply = request(rig.port(), "POST", path, &["X-API-Key: nw_good"], CALL).await;
        assert!([400, 404].contains(&reply.status), "{path}: {reply:?}");
        assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0), "{path}");
    }
}

#[tokio::test]
async fn addresses_in_other_words() {
    let rig = Rig::new().await;
    for (path, key) in [
        ("//main//v3//nw_r403", "nw_r403"),
        ("/main/v3%2Fnw_r403", "nw_r403"),
        ("/%6dain/v3/nw_r403", "nw_r403"),
        ("/x/../main/v3/nw_r403", "nw_r403"),
        ("http://elsewhere.example/main/v3/nw_r403", "nw_r403"),
        ("http://elsewhere.example/main/v3/nw_r403?/main/v3/nw_good", "nw_r403"),
        ("/main/v3/nw_r403#/main/v3/nw_good", "nw_r403"),
        ("/main/v3/nw_r403;nw_good", "malformed"),
        ("/main/v3/nw_r403%23nw_good", "malformed"),
        ("/main/v3/nw_r403%00", ""),
        ("/main/v3/nw_r403/nw_good", ""),
        ("/main/v3/../../main/v3/nw_r403", "nw_r403"),
    ] {
        let before = rig.gate.asked("/gate").len();
        request(rig.port(), "POST", path, &[], CALL).await;
        let asked = rig.gate.asked("/gate");
        if key.is_empty() {
            assert_eq!(asked.len(), before, "{path}");
        } else {
            assert_eq!(asked[before].headers["X-Gate-Path-Key"], key, "{path}");
        }
    }
    // "malformed" passes with this gate; nothing else did.
    assert_eq!(rig.assert_nothing_passed_unseen(), 2);
}

#[tokio::test]
async fn methods_other_than_post() {
    let rig = Rig::new().await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "QUERY", "POSTX"] {
        let reply = request(rig.port(), method, GOOD, &[], CALL).await;
        assert!(reply.status >= 400, "{method}: {reply:?}");
    }
    assert_eq!(request(rig.port(), "OPTIONS", GOOD, &[], CALL).await.status, 204);
    assert_eq!((rig.gate.seen().len(), rig.node.count()), (0, 0));
}

/// What comes behind a request is the next one, with a question of its own.
#[tokio::test]
async fn requests_in_a_row() {
    let rig = Rig::new().await;
    let mut all = String::new();
    let bodies: Vec<_> = (0..20).map(|n| format!("{{\"id\":{n},\"pad\":\"{}\"}}", "x".repeat(n * 50))).collect();
    for (n, body) in bodies.iter().enumerate() {
        let (path, close) =
            (if n % 3 == 2 { "/main/v3/nw_r402" } else { GOOD }, if n == 19 { "close" } else { "keep-alive" });
        let framed = match n % 2 {
            0 => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        };
        write!(all, "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: {close}\r\n{framed}").unwrap();
    }
    let mut stream = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
    stream.write_all(all.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let asked: Vec<_> = rig.gate.asked("/gate").into_iter().map(|seen| seen.body).collect();
    assert_eq!(asked, bodies);
    assert_eq!(rig.assert_nothing_passed_unseen(), bodies.len() - 6);
}

/// A request that is answered before its body came does not make the body a request.
#[tokio::test]
async fn a_body_that_looks_like_a_request() {
    let rig = Rig::new().await;
    let within = format!("POST {GOOD} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{CALL}", CALL.len());
    for (path, lines) in [
        ("/main/v3/nw_r402", ""),
        ("/unknown/v3", ""),
        (GOOD, "Content-Encoding: gzip\r\n"),
        (GOOD, "Expect: 100-continue\r\n"),
    ] {
        let length = within.len();
        let outer = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {length}\r\n\r\n{within}");
        let text = outer + "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(("127.0.0.1", rig.port())).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    assert_eq!(rig.node.seen()[0].body, within);
    assert_eq!(rig.assert_nothing_passed_unseen(), 1);
}
