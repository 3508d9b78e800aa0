//! The server that clients talk to: it counts what arrives, and refuses by a script or hands on to a real server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::refusal::Refusal;
use super::seen::Seen;
use crate::client::Connection;

/// How an address answers.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// Refuses everything.
    Refuse(Refusal),
    /// Refuses so many requests; then all is well.
    Times(usize, Refusal),
    /// Refuses for so long from the first request on; then all is well.
    For(Duration, Refusal),
    /// Hands each request on to this port and path of this machine, and the answer back: so the same questions can be put
    /// to a real gate.
    To(u16, String),
    /// The same, after its key was used up with this body when the first request came.
    Drained(u16, String, String),
}

#[derive(Default)]
struct Stage(Mutex<BTreeMap<String, (Play, Seen)>>);

/// Ends when it is dropped.
pub(crate) struct Server {
    port: u16,
    stage: Arc<Stage>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stage = Arc::<Stage>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&stage));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, stage, task }
    }

    /// A new address that answers so.
    pub(crate) fn address(&self, play: Play) -> String {
        let mut plays = self.stage.0.lock().unwrap();
        let path = format!("/ethereum/v3/{}", plays.len());
        plays.insert(path.clone(), (play, Seen::default()));
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What came to an address so far.
    pub(crate) fn seen(&self, address: &str) -> Seen {
        let path = address.parse::<Uri>().unwrap().path().to_owned();
        self.stage.0.lock().unwrap()[&path].1.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(stage): State<Arc<Stage>>, uri: Uri, body: String) -> Response {
    let Ok(asked) = serde_json::from_str::<Value>(&body) else { return plain(StatusCode::BAD_REQUEST, body) };
    let (play, seen) = {
        let mut plays = stage.0.lock().unwrap();
        let Some((play, seen)) = plays.get_mut(uri.path()) else { return plain(StatusCode::NOT_FOUND, body) };
        seen.note(asked.clone());
        (play.clone(), seen.clone())
    };
    match play {
        Play::Refuse(refusal) => refusal.answer(&asked),
        Play::Times(times, refusal) if seen.requests() <= times => refusal.answer(&asked),
        Play::For(time, refusal) if seen.age() < time => refusal.answer(&asked),
        Play::Times(..) | Play::For(..) => plain(StatusCode::OK, good(&asked).to_string()),
        Play::To(port, path) => hand_on(port, &path, &body).await,
        Play::Drained(port, path, drain) => {
            if seen.requests() == 1 {
                hand_on(port, &path, &drain).await;
            }
            hand_on(port, &path, &body).await
        }
    }
}

fn plain(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

/// The answer of a node at block 16, where an account's balance is its address.
fn good(asked: &Value) -> Value {
    let one = |request: &Value| {
        let result = match request["method"].as_str() {
            Some("eth_blockNumber") => "0x10".to_owned(),
            Some("eth_chainId") => "0x539".to_owned(),
            Some("eth_getBalance") => {
                let address = request["params"][0].as_str().unwrap_or_default();
                format!("0x{}", address.trim_start_matches("0x").trim_start_matches('0'))
            }
            other => panic!("the scenarios call no {other:?}"),
        };
        json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
    };
    match asked {
        Value::Array(members) => members.iter().map(one).collect(),
        single => one(single),
    }
}

async fn hand_on(port: u16, path: &str, body: &str) -> Response {
    let answer = Connection::open(port).await.unwrap().post(path, body).await.unwrap();
    let mut response = plain(StatusCode::from_u16(answer.status).unwrap(), answer.body.clone());
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        match answer.header(name.as_str()) {
            Some(value) => response.headers_mut().insert(name, value.parse().unwrap()),
            None => response.headers_mut().remove(name),
        };
    }
    response
}
