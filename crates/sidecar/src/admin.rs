//! What people and load balancers ask the gate itself: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::metrics::Metrics;

/// Serves until it is dropped. `stop` is true while the gate stops.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, stop: watch::Receiver<bool>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection to the admin address cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&request, &metrics, *stop.borrow());
                async move { Ok::<_, Infallible>(response) }
            });
            // Whoever connects and says nothing is not waited for.
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics, stops: bool) -> Response<Full<Bytes>> {
    let json = "application/json";
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/readyz") if stops => {
            (StatusCode::SERVICE_UNAVAILABLE, json, r#"{"status":"draining"}"#.to_owned())
        }
        (&Method::GET, "/livez" | "/readyz") => (StatusCode::OK, json, r#"{"status":"ok"}"#.to_owned()),
        (&Method::GET, "/metrics") => {
            (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.text())
        }
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            json,
            r#"{"error":"no such address: there are /livez, /readyz and /metrics"}"#.to_owned(),
        ),
        _ => (StatusCode::METHOD_NOT_ALLOWED, json, r#"{"error":"method not allowed: use GET"}"#.to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
