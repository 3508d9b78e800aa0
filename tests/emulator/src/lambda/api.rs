//! Lambda's Runtime API, for one process: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::{FunctionError, Setting};
use crate::background::{Server, respond};

/// More is refused by Lambda.
const MOST_BYTES: usize = 6 * 1024 * 1024 + 100;

/// What came of an invocation.
pub(super) type Outcome = Result<Value, FunctionError>;

/// One piece of work on its way to the process.
struct Work {
    id: String,
    payload: Value,
    deadline: SystemTime,
    done: oneshot::Sender<Outcome>,
}

/// The API's server, seen from Lambda's side.
pub(super) struct Api {
    server: Server,
    work: mpsc::UnboundedSender<Work>,
    state: Arc<State>,
    given: u64,
}

struct State {
    arn: String,
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Work>>,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    /// How often the process asked for work.
    asked: watch::Sender<u64>,
    /// Why it could not get ready, in its own words.
    init_error: watch::Sender<Option<FunctionError>>,
}

impl Api {
    pub(super) fn start(setting: &Setting) -> Self {
        let (work, queue) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            arn: format!("arn:aws:lambda:{}:{}:function:{}", setting.region, setting.account, setting.name),
            queue: tokio::sync::Mutex::new(queue),
            current: Mutex::default(),
            asked: watch::Sender::new(0),
            init_error: watch::Sender::new(None),
        });
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { Some(state.answer(&request).await) })
        });
        Self { server, work, state, given: 0 }
    }

    /// What the process finds in `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> String {
        self.server.address.to_string()
    }

    /// Waits until the process asks for its first work, or says that it cannot.
    pub(super) async fn ready(&self) -> Result<(), FunctionError> {
        let (mut asked, mut failed) = (self.state.asked.subscribe(), self.state.init_error.subscribe());
        tokio::select! {
            _ = asked.wait_for(|times| *times > 0) => Ok(()),
            error = failed.wait_for(Option::is_some) => {
                let error = error.ok().and_then(|error| error.clone());
                Err(error.unwrap_or_else(|| FunctionError::new("Runtime.Unknown", "it said no reason")))
            }
        }
    }

    /// Puts work where the process finds it.
    pub(super) fn give(&mut self, payload: Value, deadline: SystemTime) -> oneshot::Receiver<Outcome> {
        self.given += 1;
        let (done, outcome) = oneshot::channel();
        let id = format!("00000000-0000-4000-8000-{:012}", self.given);
        // The receiver lives as long as the server.
        let _ = self.work.send(Work { id, payload, deadline, done });
        outcome
    }

    /// Waits until the process asks for more than it was given: then it has done all that it does for what it was given.
    pub(super) async fn idle(&self) {
        let mut asked = self.state.asked.subscribe();
        let _ = asked.wait_for(|times| *times > self.given).await;
    }
}

impl State {
    async fn answer(&self, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let Some(path) = request.uri().path().strip_prefix("/2018-06-01/runtime/") else { return no_such_thing() };
        let words: Vec<&str> = path.split('/').collect();
        match (request.method(), words.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) if request.body().len() > MOST_BYTES => {
                let error = FunctionError::new("Function.ResponseSizeTooLarge", "Response payload size exceeded");
                self.finish(id, Err(error));
                refusal(413, "RequestEntityTooLarge")
            }
            (&Method::POST, ["invocation", id, "response"]) => {
                let outcome = serde_json::from_slice(request.body()).map_err(|error| {
                    FunctionError::new("Runtime.InvalidResponse", &format!("the answer is no JSON: {error}"))
                });
                self.finish(id, outcome)
            }
            (&Method::POST, ["invocation", id, "error"]) => self.finish(id, Err(told(request))),
            (&Method::POST, ["init", "error"]) => {
                self.init_error.send_replace(Some(told(request)));
                accepted()
            }
            _ => no_such_thing(),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        self.asked.send_modify(|times| *times += 1);
        let Some(work) = self.queue.lock().await.recv().await else { return refusal(500, "Runtime.Ended") };
        let deadline = work.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let response = respond(
            200,
            &[
                ("content-type", "application/json"),
                ("lambda-runtime-aws-request-id", &work.id),
                ("lambda-runtime-deadline-ms", &deadline),
                ("lambda-runtime-invoked-function-arn", &self.arn),
                (
                    "lambda-runtime-trace-id",
                    "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
                ),
            ],
            work.payload.to_string(),
        );
        *self.current.lock().unwrap() = Some((work.id, work.done));
        response
    }

    fn finish(&self, id: &str, outcome: Outcome) -> Response<Full<Bytes>> {
        let mut current = self.current.lock().unwrap();
        match current.take_if(|(its, _)| its == id) {
            Some((_, done)) => {
                // Whoever waited may have given up.
                let _ = done.send(outcome);
                accepted()
            }
            None => refusal(400, "InvalidRequestID"),
        }
    }
}

/// What a process says of an error: its kind in the body, or else in a header.
fn told(request: &Request<Bytes>) -> FunctionError {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let header = request.headers().get("lambda-runtime-function-error-type").and_then(|value| value.to_str().ok());
    let kind = body["errorType"].as_str().or(header).unwrap_or("Unknown").to_owned();
    FunctionError { kind, message: body["errorMessage"].as_str().unwrap_or_default().to_owned(), body }
}

fn accepted() -> Response<Full<Bytes>> {
    respond(202, &[("content-type", "application/json")], r#"{"status":"OK"}"#)
}

fn refusal(status: u16, kind: &str) -> Response<Full<Bytes>> {
    let body = json!({"errorType": kind, "errorMessage": kind});
    respond(status, &[("content-type", "application/json")], body.to_string())
}

fn no_such_thing() -> Response<Full<Bytes>> {
    refusal(404, "NotFound")
}
