//! What nodes and clients learn of each other.

use std::ops::Range;

use axum::http::HeaderName;
use nodeweir_domain::config::ProxyKind;

use crate::client::{CALL, call, request};
use crate::nodes::{Does, Node};
use crate::rosters::{main_of, plain, through_hop, with_host};
use crate::support::{Proxy, Settings, until};

const FROM_CLIENT: [&str; 11] = [
    "Authorization: Bearer key-in-header",
    "X-API-Key: key-in-header",
    "Cookie: session=1",
    "Origin: https://dapp.example",
    "Referer: https://dapp.example/",
    "User-Agent: dapp",
    "X-Forwarded-For: 1.2.3.4",
    "X-Request-Id: chosen-by-client",
    "X-RPC-Endpoint: x",
    "Accept: application/json",
    "Accept-Encoding: gzip",
];

#[tokio::test]
async fn nodes_see_only_what_they_need() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::Answer).await;
        for (member, host, path) in [
            (plain("node", node.at), "localhost".to_owned(), "/"),
            (through_hop("node", node.at), node.at.to_string(), "/path"),
            (with_host(plain("node", node.at), "named.example"), "named.example".to_owned(), "/"),
        ] {
            let proxy = Proxy::start(kind, &main_of(vec![member], None)).await;
            let reply = request(proxy.port, "POST", "/main/v3/key-in-path?key=in-query", &FROM_CLIENT, CALL).await;
            assert_eq!(reply.answered_by(), "node");
            let seen = node.seen().pop().unwrap();
            assert_eq!(seen.uri.to_string(), path, "{kind}");
            let mut names: Vec<_> = seen.headers.keys().map(HeaderName::as_str).collect();
            names.retain(|name| *name != "connection");
            names.sort_unstable();
            assert_eq!(
                names,
                ["accept", "accept-encoding", "content-length", "content-type", "host", "x-request-id"],
                "{kind}"
            );
            assert_eq!(seen.headers["host"], host);
            assert_eq!(seen.headers["accept-encoding"], "gzip");
            assert_eq!(seen.headers["x-request-id"].to_str().ok(), reply.header("X-Request-Id"));
            assert_ne!(seen.headers["x-request-id"], "chosen-by-client");
        }
    }
}

const FROM_NODE: [(&str, &str); 14] = [
    ("Access-Control-Allow-Origin", "https://node.example"),
    ("Access-Control-Allow-Credentials", "true"),
    ("X-RateLimit-Limit", "5"),
    ("RateLimit-Remaining", "5"),
    ("Retry-After", "77"),
    ("X-Credits-Remaining", "5"),
    ("Server", "geth/1.2"),
    ("Set-Cookie", "a=b"),
    ("X-RPC-Endpoint", "made-up"),
    ("X-RPC-Latency-Ms", "made-up"),
    ("X-Request-Id", "of-the-node"),
    ("Alt-Svc", "h3=\":443\""),
    ("X-Accel-Redirect", "/-/unavailable"),
    ("Content-Encoding", "identity"),
];

#[tokio::test]
async fn clients_see_our_headers_and_not_the_node_s() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::AnswerWith(&FROM_NODE)).await;
        for member in [plain("short-name", node.at), through_hop("short-name", node.at)] {
            let proxy = Proxy::start(kind, &main_of(vec![member], None)).await;
            let reply = call(proxy.port, "/v3").await;
            assert_eq!(reply.answered_by(), "node", "{kind}");
            reply.expect_usual_headers();
            assert_eq!(reply.header("X-RPC-Endpoint"), Some("short-name"));
            assert_eq!(reply.header("Content-Encoding"), Some("identity"), "what describes the body stays");
            for name in [
                "Access-Control-Allow-Credentials",
                "X-RateLimit-Limit",
                "RateLimit-Remaining",
                "Retry-After",
                "X-Credits-Remaining",
                "Set-Cookie",
                "Alt-Svc",
            ] {
                assert_eq!(reply.header(name), None, "{kind}");
            }
            assert_ne!(reply.header("Server"), Some("geth/1.2"));
            assert_ne!(reply.header("X-Request-Id"), Some("of-the-node"));
        }
    }
}

#[tokio::test]
async fn the_time_of_the_node_is_told_in_whole_milliseconds() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::Answer).await;
        let proxy = Proxy::start(kind, &main_of(vec![plain("node", node.at)], None)).await;
        tells_a_time(&proxy, 0..500).await;
        node.now(Does::Late(300));
        tells_a_time(&proxy, 290..700).await;
    }
}

#[tokio::test]
async fn longer_than_a_second_too() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::Late(1100)).await;
        let proxy = Proxy::start(kind, &main_of(vec![plain("node", node.at)], None)).await;
        tells_a_time(&proxy, 1090..3000).await;
    }
}

/// Calls until the time that is told is within `range`: any one call may have met a machine that stood still.
async fn tells_a_time(proxy: &Proxy, range: Range<u64>) {
    until(&format!("{} tells {range:?} ms", proxy.kind), async || {
        let reply = call(proxy.port, "/v3").await;
        let told: u64 = reply.header("X-RPC-Latency-Ms").unwrap().parse().unwrap();
        range.contains(&told).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_answered_need_not_be_told() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::AnswerWith(&FROM_NODE)).await;
        let settings = Settings { proxy: "  endpoint_headers: false\n", ..Settings::default() };
        let proxy = Proxy::start_with(kind, &main_of(vec![plain("node", node.at)], None), &settings).await;
        let reply = call(proxy.port, "/v3").await;
        assert_eq!((reply.header("X-RPC-Endpoint"), reply.header("X-RPC-Latency-Ms")), (None, None), "{kind}");
    }
}

#[tokio::test]
async fn two_networks_may_name_one_address_differently() {
    use nodeweir_domain::fleet::roster::Rosters;
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::Answer).await;
        let rosters = Rosters::from([
            ("main".parse().unwrap(), crate::rosters::roster(vec![plain("one", node.at)], None)),
            ("other".parse().unwrap(), crate::rosters::roster(vec![plain("two", node.at)], None)),
        ]);
        let proxy = Proxy::start(kind, &rosters).await;
        for (path, name) in [("/main/v3", "one"), ("/other/v3", "two")] {
            assert_eq!(call(proxy.port, path).await.header("X-RPC-Endpoint"), Some(name), "{kind}");
        }
    }
}
