//! One simulated node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A block comes this often.
pub(super) const BLOCK_SECONDS: u64 = 2;

/// A node that counts blocks by the clock.
pub(super) struct SimulatedNode {
    name: &'static str,
    pub(super) port: u16,
    behind: Arc<AtomicU64>,
    /// The task that serves; gone while the node is stopped.
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// What a request needs to know.
#[derive(Clone)]
struct Face {
    name: &'static str,
    behind: Arc<AtomicU64>,
}

impl SimulatedNode {
    /// Starts on a free port.
    pub(super) async fn start(name: &'static str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let node = Self { name, port, behind: Arc::default(), serving: Mutex::default() };
        node.serve(listener);
        Ok(node)
    }

    fn serve(&self, listener: TcpListener) {
        let face = Face { name: self.name, behind: Arc::clone(&self.behind) };
        let routes = Router::new().route("/", post(answer)).with_state(face);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "a simulated node ended");
            }
        });
        if let Some(before) = self.serving.lock().unwrap_or_else(PoisonError::into_inner).replace(task) {
            before.abort();
        }
    }

    /// Refuses connections from now on. Connections that are open are answered with an error.
    pub(super) fn stop(&self) {
        self.behind.store(u64::MAX, Ordering::Relaxed);
        if let Some(task) = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// Listens again and is in step.
    pub(super) async fn heal(&self) -> std::io::Result<()> {
        self.behind.store(0, Ordering::Relaxed);
        let is_stopped = self.serving.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_stopped {
            self.serve(TcpListener::bind(("127.0.0.1", self.port)).await?);
        }
        Ok(())
    }

    /// Falls so many blocks behind.
    pub(super) fn lag(&self, blocks: u64) {
        self.behind.store(blocks.min(u64::MAX - 1), Ordering::Relaxed);
    }
}

/// The newest block, by the clock: all simulated nodes agree without talking to each other.
fn newest() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / BLOCK_SECONDS
}

async fn answer(State(face): State<Face>, body: Bytes) -> Response {
    let behind = face.behind.load(Ordering::Relaxed);
    if behind == u64::MAX {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let head = newest().saturating_sub(behind);
    match serde_json::from_slice(&body) {
        Ok(Value::Array(calls)) => {
            Json(calls.iter().map(|call| one(&face, head, call)).collect::<Vec<_>>()).into_response()
        }
        Ok(call) => Json(one(&face, head, &call)).into_response(),
        Err(_) => Json(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "parse error"}}))
            .into_response(),
    }
}

fn one(face: &Face, head: u64, call: &Value) -> Value {
    let id = call.get("id").cloned().unwrap_or_default();
    let method = call.get("method").and_then(Value::as_str).unwrap_or_default();
    let result = match method {
        "eth_blockNumber" => Some(format!("{head:#x}")),
        "eth_chainId" => Some("0x539".to_owned()),
        "net_version" => Some("1337".to_owned()),
        "eth_gasPrice" => Some("0x3b9aca00".to_owned()),
        "web3_clientVersion" => Some(format!("nodeweir-simulated-node/{}", face.name)),
        _ => None,
    };
    match result {
        Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        None => {
            let message = format!("this simulated node knows no method {method:?}");
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": message}})
        }
    }
}
