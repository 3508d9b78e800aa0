//! Rates counted in a Redis beside, by TLS and with a password.

use std::fs;
use std::process::{Command, Stdio};

use super::Gated;
use crate::process::{Owned, free_port, until};

const PASSWORD: &str = "a-word.of_the~kind-that.may-stand";

#[tokio::test]
async fn the_gate_has_the_password_and_the_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (port, path) = (free_port(), |name: &str| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let program = std::env::var("NODEWEIR_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
    let mut server = Command::new(&program);
    server.args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--tls-auth-clients", "no"]);
    server.args(["--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem"]);
    server.args([
        "--tls-ca-cert-file",
        "certificate.pem",
        "--requirepass",
        PASSWORD,
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    server.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let _server = Owned(server.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));

    let store = format!(", limits: {{store: 'rediss://:${{REDIS}}@localhost:{port}'}}");
    let mut gated = Gated::start_with(&store, |rig| {
        rig.configure("gate: {", "secrets: {REDIS: {hosts: [localhost]}}\ngate: {");
        rig.environment.push(("REDIS", PASSWORD.into()));
        rig.environment.push(("SSL_CERT_FILE", path("certificate.pem").into()));
    })
    .await;
    gated.project("shop", "business").await;
    let key = gated.key("shop", "web", &[]).await;
    let counted = async |gated: &Gated| {
        assert!(gated.call(&key, "eth_chainId").await.result().is_some());
        let metrics = gated.admin("/metrics").await.unwrap();
        let local = metrics.lines().find_map(|line| line.strip_prefix("nodeweir_gate_limits_local_total ")).unwrap();
        (metrics.contains("\nnodeweir_gate_limits_away 0\n"), local.parse::<u64>().unwrap())
    };
    until("rates are counted there", async || {
        let (is_there, before) = counted(&gated).await;
        (is_there && counted(&gated).await == (true, before)).then_some(())
    })
    .await;
    let said = gated.rig.said();
    assert!(said.contains("keys' rates are counted there") && !said.contains(PASSWORD), "{said}");

    // Nobody vouches for it any more.
    gated.rig.stop_up().await;
    gated.rig.environment.retain(|(name, _)| *name != "SSL_CERT_FILE");
    gated.rig.up();
    gated.rig.until_all_serve(["a"]).await;
    until("it is not believed", async || (!counted(&gated).await.0).then_some(())).await;
    assert!(gated.rig.said().contains("keys' rates cannot be counted there"));
}
