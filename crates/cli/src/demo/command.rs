//! `nodeweir demo stop|start|lag`

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{CONTROL, NODES};
use crate::args::Demo;
use crate::context::DEMO;
use crate::output::{Outcome, Output};

/// Tells the running demo, and says what it answers.
pub(crate) async fn command(demo: Demo, output: Output) -> Result<Outcome> {
    let (verb, names, blocks) = match demo {
        Demo::Stop { nodes } => ("stop", nodes, None),
        Demo::Start { nodes } => ("start", nodes, None),
        Demo::Lag { node, blocks } => ("lag", vec![node], Some(blocks)),
    };
    let all = |name: String| if name == "all" { NODES.map(str::to_owned).to_vec() } else { vec![name] };
    for name in names.into_iter().flat_map(all) {
        // Only what can be a name goes into a request line; the demo knows which names there are.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            bail!("{name:?} is not the name of a simulated node; there are {} and the leader", NODES.join(", "));
        }
        let blocks = blocks.map_or(String::new(), |blocks| format!("/{blocks}"));
        let (ok, said) = order(&format!("/{verb}/{name}{blocks}")).await?;
        if !ok {
            bail!("{said}");
        }
        output.say(&said, &json!({"node": name, "done": verb}));
    }
    Ok(Outcome::Fine)
}

/// One request to the demo's control address; an HTTP client would be more than this needs.
async fn order(path: &str) -> Result<(bool, String)> {
    let file = Path::new(DEMO).join(CONTROL);
    let not_running = "no demo runs in this folder: start one with `nodeweir up --demo`";
    let Ok(address) = std::fs::read_to_string(file) else { bail!("{not_running}") };
    let Ok(mut stream) = TcpStream::connect(address.trim()).await else { bail!("{not_running}") };
    let request = format!("POST {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).await?;
    let said = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    Ok((answer.starts_with("HTTP/1.1 200"), said.to_owned()))
}
