//! TLS that does not work, and a certificate that does.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nodeweir_control::prober::HttpProber;
use nodeweir_domain::fleet::node::Address;
use nodeweir_domain::fleet::probe::Failure;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use crate::server::{Server, good, read_request};
use crate::{PATIENT, ask, config, is_late, no_secrets, probe};

/// A server with a certificate of its own making for `names`, that certificate, and the requests it gets.
async fn self_signed(names: &[&str]) -> (Server, String, Arc<Mutex<Vec<String>>>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    let server = Server::start(move |visit| {
        let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
        async move {
            let Ok(mut stream) = acceptor.accept(visit.stream).await else { return };
            while let Some(request) = read_request(&mut stream).await {
                let answer = good(1, &request);
                noted.lock().unwrap().push(request);
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
            }
        }
    })
    .await;
    (server, cert.pem(), requests)
}

async fn tls_failure(url: &str) -> String {
    match probe(PATIENT, url).await {
        Err(Failure::Tls(words)) => words,
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() {
    let (server, _, requests) = self_signed(&["127.0.0.1"]).await;
    let words = tls_failure(&format!("https://127.0.0.1:{}", server.port)).await;
    assert!(words.contains("certificate"), "{words}");
    assert!(requests.lock().unwrap().is_empty(), "nothing was said to it");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..], b"\x00\x01\x02garbage garbage"] {
        let server = Server::start(move |mut visit| async move {
            visit.send(answer).await;
            visit.wait_for_close().await;
        })
        .await;
        let words = tls_failure(&format!("https://127.0.0.1:{}", server.port)).await;
        assert!(words.ends_with("(does it speak TLS?)"), "{words}");
    }
}

#[tokio::test]
async fn a_server_that_ends_the_handshake_with_an_alert() {
    let server = Server::start(|mut visit| async move {
        // Fatal, handshake_failure.
        visit.send(&[0x15, 3, 3, 0, 2, 2, 40]).await;
        visit.wait_for_close().await;
    })
    .await;
    let words = tls_failure(&format!("https://127.0.0.1:{}", server.port)).await;
    assert!(words.contains("HandshakeFailure"), "{words}");
}

#[tokio::test]
async fn a_server_that_closes_or_keeps_silent_in_the_handshake() {
    let server = Server::start(|visit| async move { drop(visit) }).await;
    let failure = probe(PATIENT, &format!("https://127.0.0.1:{}", server.port)).await.unwrap_err();
    assert!(matches!(failure, Failure::Connection(_)), "{failure:?}");
    assert_eq!(server.seen.connections(), 2, "one broken connection is forgiven");
    let server = Server::start(crate::server::Visit::wait_for_close).await;
    assert!(is_late(&probe(crate::BRIEF, &format!("https://127.0.0.1:{}", server.port)).await));
}

#[tokio::test]
async fn a_server_of_tls_asked_without() {
    let (server, ..) = self_signed(&["127.0.0.1"]).await;
    let failure = probe(PATIENT, &format!("http://127.0.0.1:{}", server.port)).await.unwrap_err();
    assert!(matches!(failure, Failure::Connection(_)), "{failure:?}");
}

/// Tells the port to [`with_a_trusted_certificate`].
const PORT_VARIABLE: &str = "NODEWEIR_TEST_TLS_PORT";

#[tokio::test]
async fn a_certificate_that_the_machine_trusts() {
    let (server, pem, requests) = self_signed(&["127.0.0.1", "rpc.example.org"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    // Whom the machine trusts is read from the environment, and that belongs to a process.
    let output = tokio::process::Command::from({
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "tls::with_a_trusted_certificate"]).stdin(Stdio::null());
        command.env("SSL_CERT_FILE", &file).env(PORT_VARIABLE, server.port.to_string());
        command
    })
    .output()
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let hosts: Vec<_> = requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| crate::server::header(request, "host").unwrap().to_owned())
        .collect();
    let by_address = format!("127.0.0.1:{}", server.port);
    assert_eq!(hosts, [by_address.as_str(), &by_address, "rpc.example.org", "rpc.example.org"]);
}

#[tokio::test]
#[ignore = "run by `a_certificate_that_the_machine_trusts`, in a process of its own"]
async fn with_a_trusted_certificate() {
    let Ok(port) = std::env::var(PORT_VARIABLE) else { return };
    let prober = HttpProber::new(&config(PATIENT), no_secrets()).unwrap();
    let of = |host: Option<&str>| Address {
        url: format!("https://127.0.0.1:{port}").parse().unwrap(),
        ws_url: None,
        host: host.map(|host| host.to_owned().try_into().unwrap()),
    };
    assert_eq!(ask(&prober, &of(None)).await.unwrap().head, 0x1b4);
    // A Host of its own is the name that the certificate must bear, as for the proxy.
    assert_eq!(ask(&prober, &of(Some("rpc.example.org"))).await.unwrap().head, 0x1b4);
    let failure = ask(&prober, &of(Some("other.example.org"))).await.unwrap_err();
    assert!(matches!(failure, Failure::Tls(_)), "{failure:?}");
}
