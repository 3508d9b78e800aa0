//! What nginx asks: `/gate` before it passes a request on, `/refusal` for the answer to a refused one. The protocol is
//! private to the two; `templates/nginx.conf` has the other half.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::BytesMut;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nodeweir_domain::gate::rate::Level;
use nodeweir_domain::gate::refusal::Refusal;
use nodeweir_domain::gate::request;
use nodeweir_store::GateStore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::clock::Now;
use crate::gate::Gate;
use crate::listen::{Listener, Stream};
use crate::question::{Identity, Question, Verdict};

const KIND: HeaderName = HeaderName::from_static("x-gate-kind");
const NETWORK: HeaderName = HeaderName::from_static("x-gate-network");
const PATH_KEY: HeaderName = HeaderName::from_static("x-gate-path-key");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const ORIGIN: HeaderName = HeaderName::from_static("x-gate-origin");
const ADDRESS: HeaderName = HeaderName::from_static("x-gate-address");

const REFUSAL: HeaderName = HeaderName::from_static("x-gate-refusal");
const PROJECT: HeaderName = HeaderName::from_static("x-gate-project");
const KEY: HeaderName = HeaderName::from_static("x-gate-key");
const METHODS: HeaderName = HeaderName::from_static("x-gate-methods");
const COST: HeaderName = HeaderName::from_static("x-gate-cost");
const CREDITS: HeaderName = HeaderName::from_static("x-gate-credits");
const LIMIT: HeaderName = HeaderName::from_static("x-gate-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-gate-remaining");
const RESET: HeaderName = HeaderName::from_static("x-gate-reset");
const BURST: HeaderName = HeaderName::from_static("x-gate-burst");
const RETRY_AFTER: HeaderName = HeaderName::from_static("x-gate-retry-after");
const QUIET: HeaderName = HeaderName::from_static("x-gate-quiet");

/// Bytes beyond the configured body that are still read: nginx refuses larger ones before, and this is only so that the
/// two cannot disagree by a few.
const SLACK: u64 = 1024;

/// Serves until `stop` turns true, then finishes what has begun.
pub(crate) async fn serve<S: GateStore + 'static>(
    listener: Listener,
    gate: Arc<Gate<S>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => drop(connections.spawn(connection(stream, Arc::clone(&gate), stop.clone()))),
                Err(error) => {
                    // Most likely too many open files: connections that end make room.
                    warn!(%error, "a connection of nginx cannot be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = crate::stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<S: GateStore + 'static>(
    stream: Box<dyn Stream>,
    gate: Arc<Gate<S>>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(answer(&gate, request).await) }
    });
    let mut serving =
        std::pin::pin!(http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = crate::stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection of nginx ended early");
    }
}

async fn answer<S: GateStore + 'static>(gate: &Gate<S>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let most = usize::try_from(gate.max_body() + SLACK).unwrap_or(usize::MAX);
    // What cannot be read whole is not decided: nginx takes it for a gate that is out of order, and closes.
    let Ok(body) = Limited::new(body, most).collect().await else { return plain(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    match head.uri.path() {
        "/gate" => {
            let text = |name: &HeaderName| header(&head.headers, name);
            let question = Question {
                is_websocket: text(&KIND) == "ws",
                network: text(&NETWORK),
                path_key: text(&PATH_KEY),
                api_key: text(&API_KEY),
                authorization: text(&hyper::header::AUTHORIZATION),
                origin: text(&ORIGIN),
                address: text(&ADDRESS),
                body: &body,
            };
            verdict(gate.ask(&question).await, gate.clock.now())
        }
        "/refusal" => refusal(header(&head.headers, &REFUSAL), &body, gate.limits()),
        _ => plain(StatusCode::NOT_FOUND),
    }
}

/// What is no text is as good as absent: no key, origin or network has such bytes.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn verdict(verdict: Verdict, now: Now) -> Response<Full<Bytes>> {
    let mut headers = Headers::new();
    let status = match verdict {
        Verdict::Pass { who, passed, cost, methods, is_quiet } => {
            headers.identity(&who);
            headers.level(&passed.level, now);
            headers.number(COST, cost);
            passed.credits.into_iter().for_each(|credits| headers.number(CREDITS, credits));
            headers.text(METHODS, &methods);
            if is_quiet {
                headers.map.insert(QUIET, HeaderValue::from_static("1"));
            }
            StatusCode::NO_CONTENT
        }
        Verdict::Refuse { who, refusal, level, credits, methods } => {
            if let Some(who) = &who {
                headers.identity(who);
                headers.text(METHODS, &methods);
            }
            if let Some(level) = &level {
                headers.level(level, now);
            }
            if let Some(credits) = credits {
                headers.number(CREDITS, credits);
            }
            headers.number(COST, 0);
            refusal.retry_after().iter().for_each(|after| headers.text(RETRY_AFTER, after));
            headers.text(REFUSAL, &refusal.to_header());
            StatusCode::FORBIDDEN
        }
    };
    let mut response = plain(status);
    *response.headers_mut() = headers.map;
    response
}

/// Headers of a verdict. All their values stand in one piece of memory, since every request gets ten of them.
struct Headers {
    map: HeaderMap,
    values: BytesMut,
}

impl Headers {
    fn new() -> Self {
        Self { map: HeaderMap::with_capacity(12), values: BytesMut::with_capacity(192) }
    }

    fn identity(&mut self, who: &Identity) {
        self.text(PROJECT, who.project().as_str());
        self.text(KEY, who.key().as_str());
    }

    fn level(&mut self, level: &Level, now: Now) {
        self.number(LIMIT, level.limit.into());
        self.number(REMAINING, level.remaining.into());
        self.number(BURST, level.burst.into());
        // Rounded up: at that second the bucket is full.
        let full = now.at.as_millisecond().max(0).unsigned_abs().saturating_add(millis(level.reset_after));
        self.number(RESET, full.div_ceil(1000));
    }

    fn number(&mut self, name: HeaderName, value: u64) {
        self.text(name, itoa::Buffer::new().format(value));
    }

    /// Everything that is sent this way is made of plain characters; what is not is left out rather than sent wrong.
    fn text(&mut self, name: HeaderName, value: &str) {
        self.values.extend_from_slice(value.as_bytes());
        if let Ok(value) = HeaderValue::from_maybe_shared(self.values.split().freeze()) {
            self.map.insert(name, value);
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The answer to a refused request, with its ids.
fn refusal(said: &str, body: &[u8], limits: &request::Limits) -> Response<Full<Bytes>> {
    let refusal = Refusal::from_header(said).unwrap_or_else(|error| {
        warn!(%error, "nginx asks for the answer to an unknown refusal");
        Refusal::GateUnavailable
    });
    let answer = refusal.answer(&request::ids(body, limits));
    let mut response = plain(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
    if let Some(body) = answer.body {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = Full::from(body);
    }
    response
}
