//! What happens to one request.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::rule::Fault;
use super::{Callback, State};
use crate::background::{self, respond};
use crate::client;

/// Nothing: the connection ends without an answer.
type Outcome = Option<Response<Full<Bytes>>>;

impl State {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Outcome {
        let call = Call::read(&request);
        let fault = self.note(&call);
        if !self.is_permitted(&call) {
            return Some(Answer::denied(&call).write(&call));
        }
        match fault {
            None => self.serve(&call, request).await,
            Some(Fault::Refused) => None,
            Some(Fault::Lost) => {
                self.serve(&call, request).await;
                None
            }
            Some(Fault::Failed) => Some(Answer::failed(&call).write(&call)),
            Some(Fault::FailedAfter) => {
                self.serve(&call, request).await;
                Some(Answer::failed(&call).write(&call))
            }
            Some(Fault::Throttled) => Some(Answer::throttled(&call).write(&call)),
            Some(Fault::Late(by)) => {
                tokio::time::sleep(by).await;
                self.serve(&call, request).await
            }
            Some(Fault::Held(held)) => {
                held.wait().await;
                self.serve(&call, request).await
            }
            Some(Fault::Instead(answer)) => Some(answer.write(&call)),
            Some(Fault::Changed(change)) => {
                let reply = self.pass(request).await?;
                let mut body = serde_json::from_slice(reply.body()).unwrap_or_default();
                change(&mut body);
                Some(Answer::Json(body).write(&call))
            }
            Some(Fault::Unprocessed(done)) => self.partly(&call, request, done).await,
        }
    }

    fn is_permitted(&self, call: &Call) -> bool {
        let mut granted = self.granted.lock().unwrap();
        granted.get_mut(&call.by).is_none_or(|granted| granted.check(call))
    }

    /// Counts the call, and finds what is to be done to it. Every rule that it matches counts it.
    fn note(&self, call: &Call) -> Option<Fault> {
        self.calls.lock().unwrap().push(call.clone());
        let mut found = None;
        for rule in self.rules.lock().unwrap().iter_mut().filter(|rule| rule.on.matches(call)) {
            if found.is_none() && rule.on.is_number(rule.matched) {
                found = Some(rule.fault.clone());
            }
            rule.matched += 1;
        }
        found
    }

    /// As if there were no proxy.
    async fn serve(&self, call: &Call, request: Request<Bytes>) -> Outcome {
        if call.service == "lambda" && call.operation == "Invoke" {
            return Some(self.invoke(call, &request).await);
        }
        Some(self.pass(request).await?.map(Full::new))
    }

    /// Hands a request on; nothing if the emulator does not answer.
    async fn pass(&self, mut request: Request<Bytes>) -> Option<Response<Bytes>> {
        let account = HeaderValue::from_str(&self.account).expect("an account is digits");
        request.headers_mut().insert("x-moto-account-id", account);
        // The body is whole by now.
        request.headers_mut().remove(TRANSFER_ENCODING);
        let length = HeaderValue::from(request.body().len());
        request.headers_mut().insert(CONTENT_LENGTH, length);
        let mut reply = client::forward(&self.upstream, request).await.ok()?;
        // The body is written anew.
        reply.headers_mut().remove(TRANSFER_ENCODING);
        reply.headers_mut().remove("connection");
        Some(reply)
    }

    async fn invoke(&self, call: &Call, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let function: Option<Callback> =
            call.resources.first().and_then(|name| self.functions.lock().unwrap().get(name).cloned());
        let Some(function) = function else {
            return Answer::error(404, "ResourceNotFoundException").write(call);
        };
        let kind = request.headers().get("x-amz-invocation-type").and_then(|value| value.to_str().ok());
        match kind {
            Some("DryRun") => respond(204, &[], ""),
            Some("Event") => {
                background::spawn(function(call.json()));
                respond(202, &[], "")
            }
            _ => match function(call.json()).await {
                Ok(answer) => respond(200, &[("content-type", "application/json")], answer.to_string()),
                Err(error) => {
                    let headers = [("content-type", "application/json"), ("x-amz-function-error", "Unhandled")];
                    respond(200, &headers, error.to_json().to_string())
                }
            },
        }
    }

    /// Does the first `done` writes of a batch and gives back the rest.
    async fn partly(&self, call: &Call, request: Request<Bytes>, done: usize) -> Outcome {
        let mut body = call.json();
        let mut left = done;
        let mut unprocessed = json!({});
        for (table, writes) in body["RequestItems"].as_object_mut()? {
            let writes = writes.as_array_mut()?;
            let rest = writes.split_off(left.min(writes.len()));
            left -= writes.len();
            if !rest.is_empty() {
                unprocessed[table] = Value::Array(rest);
            }
        }
        let tables = body["RequestItems"].as_object_mut()?;
        tables.retain(|_, writes| writes.as_array().is_some_and(|writes| !writes.is_empty()));
        if !tables.is_empty() {
            let request = request.map(|_| Bytes::from(body.to_string()));
            let reply = self.pass(request).await?;
            if !reply.status().is_success() {
                return Some(reply.map(Full::new));
            }
        }
        Some(Answer::Json(json!({"UnprocessedItems": unprocessed})).write(call))
    }
}
