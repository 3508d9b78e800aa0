//! Where JSON-RPC is, and what is said everywhere else.

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::roster::Rosters;

use crate::client::{CALL, call, raw, request, try_get};
use crate::nodes::{Does, Node};
use crate::rosters::{MAIN, plain, roster};
use crate::support::Proxy;

async fn two_networks(kind: ProxyKind) -> (Proxy, [Node; 2]) {
    let nodes = [Node::start("first", Does::Answer).await, Node::start("second", Does::Answer).await];
    let rosters = Rosters::from([
        (MAIN.parse().unwrap(), roster(vec![plain("a", nodes[0].at)], None)),
        ("other".parse().unwrap(), roster(vec![plain("a", nodes[1].at)], None)),
        ("empty".parse().unwrap(), roster(vec![], None)),
    ]);
    (Proxy::start(kind, &rosters).await, nodes)
}

#[tokio::test]
async fn every_form_reaches_its_network() {
    for kind in ProxyKind::ALL {
        let (proxy, nodes) = two_networks(kind).await;
        for (host, path, expected) in [
            ("x", "/main/v3", "first"),
            ("x", "/main/v3/some-key_0~.", "first"),
            ("x", "/main/v3/", "first"),
            ("x", "/other/v3/key", "second"),
            ("x", "/other/v2/key", "second"),
            ("x", "/v3/key", "first"),
            ("x", "/v3", "first"),
            ("x", "/v2/key", "first"),
            ("x", "/v3/v3", "first"),
            ("other.rpc.example", "/v3/key", "second"),
            ("OTHER.rpc.example:8080", "/v3", "second"),
            ("other.rpc.example", "/main/v3/key", "first"),
            ("unknown.rpc.example", "/v3/key", "first"),
            ("other", "/v3/key", "first"),
        ] {
            let reply = request(proxy.port, "POST", path, &[&format!("Host: {host}")], CALL).await;
            assert_eq!(reply.answered_by(), expected, "{kind} {host} {path}");
            reply.expect_usual_headers();
        }
        for seen in nodes.iter().flat_map(Node::seen) {
            assert_eq!(
                (seen.method.as_str(), seen.uri.to_string().as_str(), &seen.body[..]),
                ("POST", "/", CALL.as_bytes())
            );
        }
    }
}

#[tokio::test]
async fn elsewhere_there_is_nothing() {
    for kind in ProxyKind::ALL {
        let (proxy, nodes) = two_networks(kind).await;
        for path in [
            "/",
            "/main",
            "/main/v1/key",
            "/unknown/v3/key",
            "/main/v3/key/more",
            "/ws/ws/v3",
            "/-/rpc",
            "/-/late",
            "/-/",
            "/main/v33",
            "/v2/v3/key",
            "/revision",
            "/Main/v3",
            "/index.html",
            "/@rpc-fallback",
        ] {
            println!("{kind} {path}");
            call(proxy.port, path).await.expect_error(404, -32600, "INVALID_REQUEST");
        }
        assert_eq!(nodes.iter().map(Node::count).sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn other_methods_are_refused_and_browsers_may_ask_first() {
    for kind in ProxyKind::ALL {
        let (proxy, nodes) = two_networks(kind).await;
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let reply = request(proxy.port, method, "/main/v3/key", &[], "").await;
            reply.expect_error(405, -32600, "INVALID_REQUEST");
            assert_eq!(reply.header("Allow"), Some("POST, OPTIONS"), "{kind} {method}");
        }
        for path in ["/main/v3/key", "/v3", "/empty/v3", "/main/ws/v3/key"] {
            let ask = ["Origin: https://dapp.example", "Access-Control-Request-Method: POST"];
            let reply = request(proxy.port, "OPTIONS", path, &ask, "").await;
            assert_eq!((reply.status, reply.text().as_str()), (204, ""), "{kind}");
            assert!(reply.header("Access-Control-Allow-Methods").unwrap().contains("POST"));
            assert!(reply.header("Access-Control-Allow-Headers").unwrap().contains("Authorization"));
            assert!(reply.header("Access-Control-Max-Age").is_some());
            reply.expect_usual_headers();
        }
        let reply = call(proxy.port, "/main/v3").await;
        assert_eq!((reply.header("Access-Control-Allow-Methods"), reply.header("Allow")), (None, None));
        assert_eq!(nodes[0].count(), 1);
    }
}

#[tokio::test]
async fn a_network_without_nodes_is_unavailable_and_the_others_are_not() {
    for kind in ProxyKind::ALL {
        let (proxy, _nodes) = two_networks(kind).await;
        call(proxy.port, "/empty/v3/key").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        assert_eq!(call(proxy.port, "/main/v3").await.answered_by(), "first");
    }
}

#[tokio::test]
async fn what_is_not_http_gets_json_too() {
    for kind in ProxyKind::ALL {
        let (proxy, _nodes) = two_networks(kind).await;
        let reply = raw(proxy.port, &[b"POST /main/v3 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"]).await;
        match kind {
            ProxyKind::Nginx => reply.expect_error(400, -32600, "INVALID_REQUEST"),
            // What it cannot parse it answers with a page of its own that no setting changes.
            ProxyKind::Haproxy => assert_eq!((reply.status, reply.header("Content-Type")), (400, Some("text/html"))),
        }
        let long = format!("X-Long: {}", "x".repeat(40_000));
        request(proxy.port, "POST", "/main/v3", &[&long], CALL).await.expect_error(431, -32600, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_beside_http_1() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for kind in ProxyKind::ALL {
        let (proxy, _nodes) = two_networks(kind).await;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        // The preface and an empty SETTINGS frame; a server that speaks HTTP/2 answers with its own SETTINGS, type 4.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "{kind}");
        assert_eq!(try_get(proxy.port, "/livez").await.unwrap().status, 200);
    }
}
