//! nginx with the gate in front of the nodes. The gate is a scripted one, on a real socket, that remembers exactly
//! what it was asked.

mod around;
mod around_http2;
mod away;
mod keys;
mod passing;
mod refusing;
mod shield;
mod websockets;

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::roster::Rosters;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::client::{CALL, Reply, request};
use crate::nodes::{Does, Node, Seen};
use crate::rosters::{main_of, plain};
use crate::support::{Proxy, Settings, free_port, until};

/// A key that passes.
const GOOD: &str = "/main/v3/nw_good";
/// Of every verdict about a known key.
const VERDICT: [(&str, &str); 7] = [
    ("X-Gate-Project", "acme"),
    ("X-Gate-Key", "0123456789ab"),
    ("X-Gate-Credits", "990"),
    ("X-Gate-Limit", "50"),
    ("X-Gate-Remaining", "49"),
    ("X-Gate-Reset", "1770000000"),
    ("X-Gate-Burst", "100"),
];
/// What clients get of it.
const SHOWN: [(&str, &str); 5] = [
    ("X-RateLimit-Limit", "50"),
    ("X-RateLimit-Remaining", "49"),
    ("X-RateLimit-Reset", "1770000000"),
    ("X-RateLimit-Burst", "100"),
    ("X-Credits-Remaining", "990"),
];

/// A gate that does what the key in the path says: `nw_r<status>` is refused with that status, `nw_quiet` sent only
/// notifications, `nw_moody` is refused without a reason, everything else passes. No key at all is 401.
#[derive(Clone, Default)]
struct Gate {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Gate {
    /// Serves on a socket.
    fn listen(&self, socket: &Path) -> Server {
        let _ = std::fs::remove_file(socket);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let listener = UnixListener::bind(socket).unwrap();
        runtime.spawn(axum::serve(listener, self.router()).into_future());
        Server(Some(runtime))
    }

    /// The same by TCP.
    fn listen_tcp(&self, listener: TcpListener) -> JoinHandle<()> {
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
    }

    fn router(&self) -> Router {
        Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::disable()).with_state(self.clone())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What was asked at this path.
    fn asked(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.uri.path() == path).collect()
    }
}

/// A gate's process: it ends with all its connections when this goes out of scope.
struct Server(Option<Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

async fn answer(State(gate): State<Gate>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (key, reason) = (text("X-Gate-Path-Key") + &text("X-API-Key"), text("X-Gate-Refusal"));
    let written = format!(r#"{{"written_by":"gate","reason":"{reason}","length":{}}}"#, body.len());
    // As the real one, it tells nobody anything who sent only notifications.
    let has = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
    let is_quiet = has(br#""method""#) && !has(br#""id""#);
    gate.seen.lock().unwrap().push(Seen { method: axum::http::Method::POST, uri: uri.clone(), headers, body });
    let response = Response::builder();
    if uri.path() == "/refusal" {
        let status = match reason.as_str() {
            "upstream-unavailable" | "upstream-timeout" if is_quiet => 204,
            "upstream-unavailable" => 503,
            "upstream-timeout" => 504,
            other => other.parse().unwrap_or(500),
        };
        // Of these headers clients see only the first.
        let lies = [("Retry-After", "77"), ("X-RateLimit-Limit", "7"), ("X-Gate-Cost", "7"), ("X-Request-Id", "mine")];
        let written = if status == 204 { String::new() } else { written };
        let response = response.status(status).header("Content-Type", "application/json");
        let response = lies.iter().fold(response, |response, (name, value)| response.header(*name, *value));
        return response.body(Body::from(written)).unwrap();
    }
    let known = VERDICT.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    let refusal = key.strip_prefix("nw_r").and_then(|status| status.parse::<u16>().ok());
    let passed = |of: axum::http::response::Builder| {
        of.status(204).header("X-Gate-Cost", "3").header("X-Gate-Methods", "eth_blockNumber:1:3")
    };
    let response = match (key.as_str(), refusal) {
        ("nw_moody", _) => Response::builder().status(403),
        // Nothing is known of a stranger.
        ("", _) | (_, Some(401)) => Response::builder().status(403).header("X-Gate-Refusal", "401"),
        (_, Some(429)) => known.status(403).header("X-Gate-Refusal", "429").header("X-Gate-Retry-After", "02"),
        (_, Some(status)) => known.status(403).header("X-Gate-Refusal", status),
        ("nw_quiet", _) => passed(known).header("X-Gate-Quiet", "1"),
        _ => passed(known),
    };
    response.body(Body::empty()).unwrap()
}

/// nginx between a gate and one node.
struct Rig {
    proxy: Proxy,
    gate: Gate,
    node: Node,
    server: Option<Server>,
}

impl Rig {
    async fn new() -> Self {
        Self::with("{}").await
    }

    /// With settings of the gate.
    async fn with(gate: &'static str) -> Self {
        let node = Node::start("node", Does::Answer).await;
        let rosters = main_of(vec![plain("node", node.at)], None);
        Self::of(node, &rosters, &Settings { gate, ..Settings::default() }).await
    }

    async fn of(node: Node, rosters: &Rosters, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sock")).unwrap();
        let gate = Gate::default();
        let server = Some(gate.listen(&folder.path().join("sock/gate.sock")));
        let settings = Settings { awaits_gate: true, ..settings.clone() };
        let proxy = Proxy::start_in(folder, free_port(), ProxyKind::Nginx, rosters, &settings).await;
        Self { proxy, gate, node, server }
    }

    fn port(&self) -> u16 {
        self.proxy.port
    }

    async fn call(&self, path: &str) -> Reply {
        request(self.port(), "POST", path, &[], CALL).await
    }

    /// Lines of the usage log, once there are `count`.
    async fn used(&self, count: usize) -> Vec<serde_json::Value> {
        let file = self.proxy.folder.path().join("usage/requests.log");
        until("the usage is logged", async || {
            let text = std::fs::read_to_string(&file).unwrap();
            // The last one may still be written.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<_> = whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// What the node saw, the gate saw, in the same order and to the last byte; how many requests that were.
    #[track_caller]
    fn assert_nothing_passed_unseen(&self) -> usize {
        let shown: Vec<_> = self.gate.asked("/gate").into_iter().map(|seen| seen.body).collect();
        let passed = self.node.seen();
        for seen in &passed {
            assert!(shown.contains(&seen.body), "{} bytes passed unseen: {seen:?}", seen.body.len());
            assert!(!seen.body.is_empty(), "{seen:?}");
        }
        passed.len()
    }
}

/// Checks that the verdict is shown, with this cost.
#[track_caller]
fn expect_verdict(reply: &Reply, cost: Option<&str>) {
    for (name, value) in SHOWN {
        assert_eq!(reply.header(name), Some(value), "{name}: {reply:?}");
    }
    assert_eq!(reply.header("X-Credits-Cost"), cost, "{reply:?}");
    reply.expect_usual_headers();
}
