//! Connections that fail, and which failures a second try forgives.

use std::sync::atomic::{AtomicU8, Ordering};

use nodeweir_domain::fleet::probe::Failure;
use tokio::net::TcpSocket;

use crate::server::{Server, good, http};
use crate::{PATIENT, probe};

#[tokio::test]
async fn nobody_there() {
    // The port stays taken, so that no server of another test gets it.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let at = taken.local_addr().unwrap();
    assert_eq!(probe(PATIENT, &format!("http://{at}")).await, Err(Failure::Refused));
}

/// A server that breaks each connection in the way of `broken` before the one numbered `from`.
async fn breaking(broken: &'static [u8], reset: bool, from: usize) -> Server {
    Server::start(move |mut visit| async move {
        while let Some(request) = visit.request().await {
            if visit.number < from {
                visit.send(broken).await;
                if reset {
                    visit.stream.set_zero_linger().unwrap();
                }
                return;
            }
            visit.send(&good(1, &request)).await;
        }
    })
    .await
}

const BROKEN: [(&[u8], bool); 4] = [
    (b"", false),
    (b"", true),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\":", false),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\":", true),
];

#[tokio::test]
async fn one_broken_connection_is_forgiven() {
    for (broken, reset) in BROKEN {
        let server = breaking(broken, reset, 1).await;
        assert_eq!(probe(PATIENT, &server.url()).await.unwrap().head, 0x1b4);
        assert_eq!(server.seen.connections(), 2);
    }
}

#[tokio::test]
async fn two_broken_connections_are_a_failure() {
    for (broken, reset) in BROKEN {
        let server = breaking(broken, reset, 2).await;
        let failure = probe(PATIENT, &server.url()).await.unwrap_err();
        let Failure::Connection(words) = &failure else { panic!("{failure:?}") };
        assert!(!words.is_empty() && !words.contains("127.0.0.1"), "{words}");
        assert_eq!(server.seen.connections(), 2, "{words}");
    }
}

#[tokio::test]
async fn one_fault_of_the_server_is_forgiven_but_no_word_against_us() {
    for (status, tries) in [("500 Oops", 2), ("503 Later", 2), ("429 Too many", 1), ("403 No", 1), ("302 There", 1)] {
        let server = Server::answering(move |number, request| match number {
            0 => http(status, ""),
            _ => good(1, request),
        })
        .await;
        let outcome = probe(PATIENT, &server.url()).await;
        assert_eq!(outcome.is_ok(), tries == 2, "{status}: {outcome:?}");
        let asked = server.seen.requests().iter().filter(|request| request.contains("eth_blockNumber")).count();
        assert_eq!(asked, tries, "{status}");
    }
}

#[tokio::test]
async fn garbage_instead_of_http_is_a_failed_connection() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\x00\xff\xfe\x01garbage",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n",
        b"\n\n\n\n",
    ] {
        let server = breaking(garbage, false, usize::MAX).await;
        let failure = probe(PATIENT, &server.url()).await.unwrap_err();
        let Failure::Connection(words) = &failure else { panic!("{garbage:?}: {failure:?}") };
        assert!(words.len() > 5, "{words:?}");
        assert!(!words.contains(|c: char| c.is_control()), "{words:?}");
    }
}

#[tokio::test]
async fn one_refused_connection_is_forgiven() {
    // Nobody listens at 127.0.0.2 on this port; the second look-up finds the server.
    let server = Server::answering(|_, request| good(1, request)).await;
    let count = AtomicU8::new(0);
    let prober = crate::names::prober(false, move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first { "127.0.0.2" } else { "127.0.0.1" }])
    });
    let outcome = crate::ask(&prober, &crate::address(&format!("http://node.example:{}", server.port))).await;
    assert_eq!(outcome.unwrap().head, 0x1b4);
}
