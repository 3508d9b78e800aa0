//! What the prober sends.

use std::sync::Arc;

use nodeweir_control::prober::HttpProber;
use nodeweir_domain::fleet::node::Address;
use nodeweir_domain::fleet::probe::Failure;

use crate::server::{Server, good, header, http};
use crate::{PATIENT, ask, config, no_secrets};

#[tokio::test]
async fn the_questions_are_two_plain_posts() {
    let server = Server::answering(|_, request| good(1, request)).await;
    let prober = HttpProber::new(&config(PATIENT), no_secrets()).unwrap();
    ask(&prober, &crate::address(&server.url())).await.unwrap();
    let requests = server.seen.requests();
    for (request, id, method) in [(&requests[0], 1, "eth_blockNumber"), (&requests[1], 2, "eth_chainId")] {
        assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(request, "content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body, serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": []}));
    }
}

#[tokio::test]
async fn the_leader_s_chain_is_not_asked_each_time() {
    let server = Server::answering(|_, request| good(1, request)).await;
    let prober = HttpProber::new(&config(PATIENT), no_secrets()).unwrap();
    let observation = prober.probe_address(&crate::address(&server.url()), false).await;
    assert_eq!(observation.outcome.unwrap().chain_id, None);
    assert_eq!(server.seen.requests().len(), 1);
}

#[tokio::test]
async fn the_host_is_what_this_kind_of_node_accepts() {
    let prober = HttpProber::new(&config(PATIENT), no_secrets()).unwrap();
    for (path, own, expected) in [
        ("", None, "localhost".to_owned()),
        ("", Some("rpc.example.org"), "rpc.example.org".to_owned()),
        ("/v3/x", None, "127.0.0.1:PORT".to_owned()),
        ("/v3/x", Some("rpc.example.org"), "rpc.example.org".to_owned()),
        ("/v3/x", Some("10.1.2.3"), "10.1.2.3".to_owned()),
    ] {
        let server = Server::answering(|_, request| good(1, request)).await;
        let url = format!("{}{path}", server.url()).parse().unwrap();
        let host = own.map(|host| host.to_owned().try_into().unwrap());
        ask(&prober, &Address { url, ws_url: None, host }).await.unwrap();
        for request in server.seen.requests() {
            let expected = expected.replace("PORT", &server.port.to_string());
            assert_eq!(header(&request, "host"), Some(expected.as_str()), "{path} {own:?}");
            assert!(request.starts_with(&format!("POST {} HTTP/1.1\r\n", if path.is_empty() { "/" } else { path })));
        }
    }
}

const VALUE: &str = "0123456789abcdef-hunter2";

fn with_secret() -> HttpProber {
    let secrets =
        Arc::new(|name: &nodeweir_domain::fleet::node::SecretName| (name.as_str() == "KEY").then(|| VALUE.to_owned()));
    HttpProber::new(&config(PATIENT), secrets).unwrap()
}

#[tokio::test]
async fn a_secret_goes_to_the_node() {
    let server = Server::answering(|_, request| good(1, request)).await;
    ask(&with_secret(), &crate::address(&format!("{}/v3/${{KEY}}/x", server.url()))).await.unwrap();
    for request in server.seen.requests() {
        assert!(request.starts_with(&format!("POST /v3/{VALUE}/x HTTP/1.1\r\n")), "{request}");
    }
}

#[tokio::test]
async fn a_secret_without_a_value_is_named_and_nobody_is_asked() {
    let server = Server::answering(|_, request| good(1, request)).await;
    let failure = ask(&with_secret(), &crate::address(&format!("{}/${{OTHER}}", server.url()))).await.unwrap_err();
    assert!(matches!(failure, Failure::Secret(_)));
    assert!(failure.to_string().contains("OTHER"), "{failure}");
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn a_secret_is_in_no_failure_s_words() {
    // What nodes say when they do not like a key, and what breaks on the way to them.
    let quoting = |text: String| http("200 OK", &text);
    let moved = format!("HTTP/1.1 301 Moved\r\nlocation: http://elsewhere/v3/{VALUE}\r\ncontent-length: 0\r\n\r\n");
    for answer in [
        quoting(format!(r#"{{"id":1,"error":{{"code":-32001,"message":"invalid project id: {VALUE}"}}}}"#)),
        // Cut at a length that leaves the first half.
        quoting(format!(r#"{{"id":1,"error":{{"code":-32001,"message":"{}{VALUE}"}}}}"#, "x".repeat(48))),
        quoting(format!(r#"{{"id":1,"result":"/v3/{VALUE}"}}"#)),
        quoting(format!("not found: /v3/{VALUE}")),
        http("404 Not Found", VALUE),
        moved.into_bytes(),
        format!("{VALUE} is no HTTP\r\n\r\n").into_bytes(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {VALUE}\r\n\r\n").into_bytes(),
        b"".to_vec(),
    ] {
        let server = Server::start(move |mut visit| {
            let answer = answer.clone();
            async move {
                visit.request().await;
                visit.send(&answer).await;
            }
        })
        .await;
        let failure = ask(&with_secret(), &crate::address(&format!("{}/v3/${{KEY}}", server.url()))).await.unwrap_err();
        assert_clean(&failure);
    }
    for url in ["http://127.0.0.1:1/${KEY}", "https://127.0.0.1:1/${KEY}"] {
        assert_clean(&ask(&with_secret(), &crate::address(url)).await.unwrap_err());
    }
}

fn assert_clean(failure: &Failure) {
    let stored = serde_json::to_string(failure).unwrap();
    for words in [failure.to_string(), format!("{failure:?}"), stored] {
        assert!(!words.contains(&VALUE[..8]), "{words}");
    }
}
