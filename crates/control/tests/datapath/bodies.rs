//! What may be sent.

use std::fmt::Write as _;

use nodeweir_domain::config::ProxyKind;

use crate::client::{CALL, raw, request};
use crate::nodes::{Does, Node};
use crate::rosters::{main_of, plain};
use crate::support::Proxy;

const MIB: usize = 1 << 20;

async fn one_node(kind: ProxyKind) -> (Proxy, Node) {
    let node = Node::start("node", Does::Answer).await;
    (Proxy::start(kind, &main_of(vec![plain("node", node.at)], None)).await, node)
}

#[tokio::test]
async fn as_long_as_allowed_and_no_longer() {
    for kind in ProxyKind::ALL {
        let (proxy, node) = one_node(kind).await;
        assert_eq!(request(proxy.port, "POST", "/v3", &[], &"x".repeat(MIB)).await.answered_by(), "node");
        assert_eq!(node.seen()[0].body.len(), MIB);
        let reply = request(proxy.port, "POST", "/v3", &[], &"x".repeat(MIB + 1)).await;
        reply.expect_error(413, -32600, "REQUEST_TOO_LARGE");
        assert_eq!(node.count(), 1);
    }
}

fn chunked(chunks: &[&str]) -> String {
    let mut text =
        "POST /v3/key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_owned();
    for chunk in chunks {
        write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
    }
    text + "0\r\n\r\n"
}

#[tokio::test]
async fn in_chunks() {
    for kind in ProxyKind::ALL {
        let (proxy, node) = one_node(kind).await;
        let (start, end) = CALL.split_at(20);
        assert_eq!(raw(proxy.port, &[chunked(&[start, end]).as_bytes()]).await.answered_by(), "node");
        assert_eq!(node.seen()[0].body, CALL);
        let tiny: Vec<_> = (0..CALL.len()).map(|at| &CALL[at..=at]).collect();
        assert_eq!(raw(proxy.port, &[chunked(&tiny).as_bytes()]).await.answered_by(), "node");
        assert_eq!(node.seen()[1].body, CALL);
        let large = "x".repeat(MIB / 2);
        let reply = raw(proxy.port, &[chunked(&[&large, &large, "x"]).as_bytes()]).await;
        match kind {
            ProxyKind::Nginx => reply.expect_error(413, -32600, "REQUEST_TOO_LARGE"),
            // It cannot see such a body whole, and so asks for its length.
            ProxyKind::Haproxy => reply.expect_error(411, -32600, "INVALID_REQUEST"),
        }
        assert_eq!(node.count(), 2, "{kind}");
    }
}

#[tokio::test]
async fn none_or_an_encoded_one_is_refused() {
    for kind in ProxyKind::ALL {
        let (proxy, node) = one_node(kind).await;
        request(proxy.port, "POST", "/v3", &[], "").await.expect_error(400, -32600, "INVALID_REQUEST");
        let reply = request(proxy.port, "POST", "/v3", &["Content-Length: 0"], "").await;
        reply.expect_error(400, -32600, "INVALID_REQUEST");
        let reply = request(proxy.port, "POST", "/v3", &["Content-Encoding: gzip"], CALL).await;
        reply.expect_error(415, -32600, "INVALID_REQUEST");
        assert_eq!(node.count(), 0);
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to() {
    for kind in ProxyKind::ALL {
        let (proxy, node) = one_node(kind).await;
        let reply = request(proxy.port, "POST", "/v3", &["Expect: 100-continue"], CALL).await;
        assert_eq!(reply.answered_by(), "node", "{kind}");
        assert!(!node.seen()[0].headers.contains_key("Expect"));
    }
}
