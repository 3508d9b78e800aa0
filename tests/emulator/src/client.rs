//! Calls of AWS without an SDK: what a test needs to set a scene and to look at it, and what the proxy forwards with.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::background;

/// Calls one address, of [`Moto`](crate::Moto) or a [`Proxy`](crate::Proxy), as `test`.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    caller: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// Its headers; names are in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    /// Of the services at `url`.
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), caller: "test".to_owned() }
    }

    /// The same, but with these credentials; see [`Call::by`](crate::Call::by).
    #[must_use]
    pub fn as_caller(&self, caller: &str) -> Self {
        Self { caller: caller.to_owned(), ..self.clone() }
    }

    /// A call of a service that speaks JSON, `target` being for instance `DynamoDB_20120810.PutItem`. Errs when there
    /// is no answer; an answer that tells of an error is a reply.
    pub async fn json(&self, service: &str, target: &str, body: &Value) -> io::Result<Reply> {
        let headers = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.0")];
        self.send(service, "POST", "/", &headers, Bytes::from(body.to_string())).await
    }

    /// A call of a service that speaks forms, such as `cloudformation`.
    pub async fn form(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> io::Result<Reply> {
        let mut body = format!("Action={action}");
        for (name, value) in parameters {
            body.push('&');
            body.push_str(name);
            body.push('=');
            body.push_str(&escape(value));
        }
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(service, "POST", "/", &headers, Bytes::from(body)).await
    }

    /// Any other call.
    pub async fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> io::Result<Reply> {
        let host = self.url.strip_prefix("http://").unwrap_or(&self.url).to_owned();
        let scope = format!("{}/20260101/eu-central-1/{service}/aws4_request", self.caller);
        let mut request = Request::builder().method(method).uri(path).header("host", &host).header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).map_err(io::Error::other)?;
        let response = background::run(async move { forward(&host, request).await }).await?;
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        Ok(Reply { status: response.status().as_u16(), headers: headers.collect(), body: response.into_body() })
    }
}

/// Sends a request on a connection of its own.
pub(crate) async fn forward(host: &str, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = background::spawn(connection);
    let answer = async {
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let answer = answer.await.map_err(|error: hyper::Error| io::Error::other(error));
    connection.abort();
    answer
}

/// Percent-encodes all but letters and digits.
fn escape(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
