//! The gate, end to end: keys made by command, requests through the real nginx, the gate's own process beside it.

mod faults;
mod keys;
mod ledger;
mod libraries;
mod limits;
mod shared;
mod start;

use std::fs;
use std::io;
use std::time::Duration;

use nodeweir_domain::config::ProxyKind;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;

use crate::both::place;
use crate::client::{Answer, Connection, request};
use crate::nodes::Anvil;
use crate::process::{free_port, until};
use crate::rig::Rig;

/// A project's key.
#[derive(Debug, Clone)]
struct Key {
    text: String,
    id: String,
}

impl Key {
    /// The default network's address with this key.
    fn path(&self) -> String {
        format!("/v3/{}", self.text)
    }
}

/// A fleet with a gate, one own node `a`, and a project `shop`.
struct Gated {
    rig: Rig,
    admin: u16,
    a: Anvil,
    leader: Anvil,
    _place: SemaphorePermit<'static>,
}

impl Gated {
    /// `more` are keys of the gate's settings, with a comma before each.
    async fn start(more: &str) -> Self {
        Self::start_with(more, |_| ()).await
    }

    /// The same with changes before anything runs.
    async fn start_with(more: &str, change: impl FnOnce(&mut Rig)) -> Self {
        let fleet = place().await;
        let (leader, a) = (Anvil::start().await, Anvil::start().await);
        let admin = free_port();
        let gate = format!("{{admin: '127.0.0.1:{admin}'{more}}}");
        let mut rig = Rig::with_gate(ProxyKind::Nginx, &[("ethereum", &leader), ("polygon", &leader)], &gate);
        change(&mut rig);
        rig.run(&["node", "add", "ethereum", "a", &a.url()]).await.exits(0);
        rig.up();
        rig.until_all_serve(["a"]).await;
        Self { rig, admin, a, leader, _place: fleet }
    }

    async fn project(&self, name: &str, tier: &str) {
        self.rig.run(&["project", "create", name, "--tier", tier]).await.exits(0);
    }

    /// Makes a key; `more` are arguments of the command.
    async fn key(&self, project: &str, name: &str, more: &[&str]) -> Key {
        let args = [&["key", "create", project, "--name", name, "--json"], more].concat();
        let made = self.rig.run(&args).await.exits(0).json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        Key { text: text(&made["secret"]), id: text(&made["key"]["id"]) }
    }

    /// One request on a connection of its own.
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_post(path, headers, body).await.unwrap()
    }

    /// The same where nobody may listen for a moment.
    async fn try_post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        Connection::open(self.rig.port).await?.post_with(path, headers, body).await
    }

    async fn call(&self, key: &Key, method: &str) -> Answer {
        self.post(&key.path(), &[], &request(method)).await
    }

    /// The gate's process.
    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.rig.state("gate.lock")).ok()?.trim().parse().ok()
    }

    /// What the gate's own address answers.
    async fn admin(&self, path: &str) -> Option<String> {
        get(self.admin, path).await
    }

    /// A project's credits this month, as the ledger has them.
    async fn credits(&self, project: &str) -> Value {
        self.rig.run(&["project", "show", project, "--json"]).await.exits(0).json()["month"].clone()
    }

    /// Waits until `spent` credits are in the ledger and none are leased.
    async fn until_spent(&self, project: &str, spent: u64) -> Value {
        until(&format!("{spent} credits are spent"), async || {
            let credits = self.credits(project).await;
            (credits["spent"] == spent && credits["leased"] == 0).then_some(credits)
        })
        .await
    }

    /// Waits until `calls` calls of a project are counted.
    async fn until_used(&self, project: &str, calls: u64) -> Vec<Value> {
        until(&format!("{calls} calls are counted"), async || {
            let usage = self.rig.run(&["usage", project, "--by", "method", "--json"]).await.exits(0).json();
            let rows = usage["rows"].as_array().unwrap().clone();
            let sum: u64 = rows.iter().map(|row| row["calls"].as_u64().unwrap()).sum();
            assert!(sum <= calls, "{sum} calls are counted of {calls}");
            (sum == calls).then_some(rows)
        })
        .await
    }
}

/// Checks a refusal of a single request with the id 1.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, rpc: i64, code: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    assert_eq!(body["id"], 1, "{body}");
    assert_eq!((&body["error"]["code"], &body["error"]["data"]["code"]), (&rpc.into(), &code.into()), "{body}");
    let may_retry = matches!(status, 429 | 503);
    assert_eq!(answer.header("retry-after").is_some(), may_retry, "{answer:?}");
}

/// The time within which a revocation is promised to be effective.
const REVOKED: Duration = Duration::from_secs(30);

/// What a port answers, head and body.
async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
