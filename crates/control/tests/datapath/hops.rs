//! Nodes with TLS, a path or a name.

use nodeweir_domain::config::ProxyKind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::client::call;
use crate::nodes::{Does, Node};
use crate::rosters::{main_of, member, plain, with_host};
use crate::support::{Proxy, SECRET, Settings, until};

/// An authority's certificate as PEM, and what a server called `name` shows that the authority vouches for.
fn authority_and_server(name: &str) -> (String, TlsAcceptor) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (pem, TlsAcceptor::from(std::sync::Arc::new(config)))
}

#[tokio::test]
async fn tls_is_spoken_to_who_proves_its_name() {
    for kind in ProxyKind::ALL {
        let (pem, acceptor) = authority_and_server("node.example");
        let node = Node::start_tls("node", Does::Answer, acceptor).await;
        let url = format!("https://{}/v3/${{KEY}}", node.at);
        let settings = Settings { authority: pem, ..Settings::default() };
        let right = with_host(member("node", &url), "node.example");
        let proxy = Proxy::start_with(kind, &main_of(vec![right], None), &settings).await;
        let reply = call(proxy.port, "/v3/key").await;
        assert_eq!((reply.answered_by().as_str(), reply.header("X-RPC-Endpoint")), ("node", Some("node")), "{kind}");
        let seen = node.seen().pop().unwrap();
        assert_eq!(
            (seen.uri.to_string(), seen.headers["host"].to_str().unwrap()),
            (format!("/v3/{SECRET}"), "node.example")
        );

        let wrong = with_host(member("node", &url), "other.example");
        let proxy = Proxy::start_with(kind, &main_of(vec![wrong.clone()], None), &settings).await;
        call(proxy.port, "/v3/key").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        let (stranger, _) = authority_and_server("node.example");
        let settings = Settings { authority: stranger, ..Settings::default() };
        let right = with_host(member("node", &url), "node.example");
        let proxy = Proxy::start_with(kind, &main_of(vec![right], None), &settings).await;
        call(proxy.port, "/v3/key").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        assert_eq!(node.count(), 1, "{kind}: the secret went nowhere else");
    }
}

/// Answers every question for an A record with 127.0.0.1, except for names below `missing`.
async fn dns() -> u16 {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((size, from)) = socket.recv_from(&mut query).await {
            let query = &query[..size];
            let Some(end) = query[12..].iter().position(|byte| *byte == 0).map(|at| 12 + at + 5) else {
                continue;
            };
            let is_missing = query[12..end].windows(7).any(|part| part == b"missing");
            let is_a = query[end - 3] == 1 && !is_missing;
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, if is_missing { 0x83 } else { 0x80 }, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            answer.extend(&query[12..end]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    port
}

#[tokio::test]
async fn names_are_resolved_and_one_that_is_unknown_stops_nobody() {
    for kind in ProxyKind::ALL {
        let node = Node::start("named", Does::Answer).await;
        let other = Node::start("plain", Does::Answer).await;
        let settings = Settings { dns: dns().await, ..Settings::default() };
        let named = member("named", &format!("http://node.test:{}", node.at.port()));
        let missing = member("missing", &format!("http://missing.test:{}", node.at.port()));
        let proxy = Proxy::start_with(kind, &main_of(vec![missing.clone(), named], None), &settings).await;
        let reply = until("the name is resolved", async || {
            let reply = call(proxy.port, "/v3").await;
            (reply.status == 200).then_some(reply)
        });
        assert_eq!(reply.await.header("X-RPC-Endpoint"), Some("named"), "{kind}");
        assert_eq!(node.seen()[0].headers["host"], "localhost");

        let proxy = Proxy::start(kind, &main_of(vec![missing, plain("plain", other.at)], None)).await;
        for _ in 0..4 {
            assert_eq!(call(proxy.port, "/v3").await.answered_by(), "plain", "{kind}: nobody resolves names here");
        }
    }
}

/// Both programs compare names only, so an `https://` address needs a `host`, whatever its certificate says.
#[tokio::test]
async fn an_address_proves_nothing() {
    for kind in ProxyKind::ALL {
        let (pem, acceptor) = authority_and_server("127.0.0.1");
        let node = Node::start_tls("node", Does::Answer, acceptor).await;
        let settings = Settings { authority: pem, ..Settings::default() };
        let by_address = member("node", &format!("https://{}", node.at));
        let proxy = Proxy::start_with(kind, &main_of(vec![by_address], None), &settings).await;
        call(proxy.port, "/v3").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        assert_eq!(node.count(), 0, "{kind}");
    }
}
