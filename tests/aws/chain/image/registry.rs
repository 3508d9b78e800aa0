//! A registry of images that is ECR to whoever looks for it there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Owned, free_port, until};

/// Debian's registry, with a certificate of its own.
pub(super) struct Registry {
    /// Its names: its own, and ECR's of an account.
    pub(super) own: String,
    pub(super) ecr: String,
    /// Who asks it for ECR is led to the registry.
    pub(super) proxy: String,
    /// Whom to trust.
    pub(super) certificate: PathBuf,
    _child: Owned,
}

impl Registry {
    pub(super) async fn start(place: &Path, account: &str) -> Self {
        let port = free_port();
        let ecr = format!("{account}.dkr.ecr.eu-central-1.amazonaws.com");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), ecr.clone()]).unwrap();
        let [certificate, key, config] = ["registry.pem", "registry.key", "registry.yml"].map(|name| place.join(name));
        fs::write(&certificate, cert.pem()).unwrap();
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        let said = json!({
            "version": 0.1,
            "log": {"accesslog": {"disabled": true}, "level": "error"},
            "storage": {"filesystem": {"rootdirectory": place.join("registry")}},
            "http": {"addr": format!("localhost:{port}"), "tls": {"certificate": certificate, "key": key}},
        });
        // JSON is YAML.
        fs::write(&config, said.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = Owned(child);
        until("the registry answers", async || TcpStream::connect(("localhost", port)).await.ok()).await;
        let proxy = format!("http://127.0.0.1:{}", lead_to(port).await);
        Self { own: format!("localhost:{port}"), ecr, proxy, certificate, _child: child }
    }
}

/// The port of an HTTP proxy that takes everybody to one port of this machine, whatever host they ask for.
async fn lead_to(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that breaks is its client's concern.
            tokio::spawn(tunnel(stream, port));
        }
    });
    own
}

async fn tunnel(stream: TcpStream, port: u16) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // `CONNECT` and its headers.
    while stream.read_line(&mut line).await? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut TcpStream::connect(("localhost", port)).await?).await?;
    Ok(())
}
