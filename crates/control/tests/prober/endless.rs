//! Answers that never end, or never begin.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nodeweir_domain::fleet::probe::Failure;
use tokio::time::sleep;

use crate::server::{Seen, Server, good};
use crate::{BRIEF, PATIENT, is_late, probe};

/// What the kernel keeps in flight on the way, and a little of ours. A prober that took all would take far more.
const BOUND: u64 = 32 << 20;

/// A server that answers with `head`, then with `part` again and again as fast as it can.
async fn flooding(head: &'static str, part: Vec<u8>) -> Server {
    Server::start(move |mut visit| {
        let part = part.clone();
        async move {
            visit.request().await;
            if visit.send(head.as_bytes()).await {
                while visit.send(&part).await {}
            }
            visit.seen.closed.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

/// Waits until the server saw that every connection was left.
async fn left(seen: &Seen) {
    let all = async {
        while seen.closed.load(Ordering::SeqCst) < seen.connections() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::DEADLINE, all).await.unwrap();
}

#[tokio::test]
async fn ten_gigabytes_are_not_taken() {
    let megabyte = vec![b' '; 1 << 20];
    let mut chunk = b"100000\r\n".to_vec();
    chunk.extend_from_slice(&megabyte);
    chunk.extend_from_slice(b"\r\n");
    for (head, part) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n", megabyte.clone()),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", megabyte),
    ] {
        let server = flooding(head, part).await;
        assert_eq!(probe(PATIENT, &server.url()).await, Err(Failure::TooLarge), "{head}");
        left(&server.seen).await;
        let sent = server.seen.sent.load(Ordering::SeqCst);
        assert!(sent < BOUND, "{head}: {sent} bytes were taken");
        assert_eq!(server.seen.connections(), 1, "and nobody asks for them again");
    }
}

#[tokio::test]
async fn headers_without_end_are_not_taken() {
    for (head, part) in [
        ("HTTP/1.1 200 OK\r\n", b"x-header: something or other\r\n".repeat(1000)),
        ("HTTP/1.1 200 OK\r\nx-header: ", vec![b'x'; 100_000]),
        ("", vec![b'x'; 100_000]),
    ] {
        let server = flooding(head, part).await;
        let failure = probe(PATIENT, &server.url()).await.unwrap_err();
        assert!(matches!(failure, Failure::Connection(_)), "{head:?}: {failure:?}");
        left(&server.seen).await;
        let sent = server.seen.sent.load(Ordering::SeqCst);
        assert!(sent < BOUND, "{head:?}: {sent} bytes were taken");
    }
}

#[tokio::test]
async fn preliminary_answers_without_end_are_no_answer() {
    let server = flooding("", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec()).await;
    let failure = probe(BRIEF, &server.url()).await.unwrap_err();
    assert!(matches!(failure, Failure::Timeout | Failure::Starved | Failure::Connection(_)), "{failure:?}");
    left(&server.seen).await;
}

/// One byte each 100 ms: never silent, never done.
async fn dripping(at_once: &'static [u8]) -> Server {
    Server::start(move |mut visit| async move {
        let Some(request) = visit.request().await else { return };
        let answer = good(1, &request);
        if visit.send(at_once).await {
            for byte in answer.iter().skip(at_once.len()).cycle() {
                sleep(Duration::from_millis(100)).await;
                if !visit.send(&[*byte]).await {
                    break;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_slow_drip_does_not_outlast_the_time() {
    for at_once in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n"] {
        let server = dripping(at_once).await;
        assert!(is_late(&probe(BRIEF, &server.url()).await));
    }
}

#[tokio::test]
async fn who_accepts_and_says_nothing_gave_no_answer() {
    let server = Server::start(|mut visit| async move {
        visit.request().await;
        visit.wait_for_close().await;
    })
    .await;
    assert!(is_late(&probe(BRIEF, &server.url()).await));
    left(&server.seen).await;
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn the_time_is_for_both_questions_together() {
    let server = Server::start(|mut visit| async move {
        while let Some(request) = visit.request().await {
            sleep(BRIEF.mul_f32(0.7)).await;
            visit.send(&good(1, &request)).await;
        }
    })
    .await;
    assert!(is_late(&probe(BRIEF, &server.url()).await));
}
