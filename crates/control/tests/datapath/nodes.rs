//! Nodes that do as they are told and remember what they were asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a node does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with its name as the result.
    Answer,
    /// The same with these headers too.
    AnswerWith(&'static [(&'static str, &'static str)]),
    /// Sends this status and body.
    Say(u16, &'static str),
    /// Takes the request and says nothing.
    Hang,
    /// Answers after this many milliseconds.
    Late(u64),
    /// Answers when as many requests as the barrier wants are there, whichever of the nodes that share it they came to.
    Wait(Arc<Barrier>),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A running node; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    does: Arc<Mutex<Does>>,
    name: &'static str,
}

impl Node {
    /// A node over plain HTTP.
    pub(crate) async fn start(name: &'static str, does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Self::new(name, does, listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, node.router()).into_future());
        node
    }

    /// A node over TLS.
    pub(crate) async fn start_tls(name: &'static str, does: Does, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Self::new(name, does, listener.local_addr().unwrap());
        tokio::spawn(axum::serve(TlsListener { listener, acceptor }, node.router()).into_future());
        node
    }

    fn new(name: &'static str, does: Does, at: SocketAddr) -> Self {
        Self { at, seen: Arc::default(), does: Arc::new(Mutex::new(does)), name }
    }

    fn router(&self) -> Router {
        Router::new().fallback(handle).layer(axum::extract::DefaultBodyLimit::disable()).with_state(self.clone())
    }

    /// From now on it does this.
    pub(crate) fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn handle(State(node): State<Node>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    node.seen.lock().unwrap().push(Seen { method, uri, headers, body });
    let does = node.does.lock().unwrap().clone();
    let mut response = Response::builder().header("Content-Type", "application/json");
    let answer = Body::from(format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#, node.name));
    let body = match does {
        Does::Answer => answer,
        Does::AnswerWith(headers) => {
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            answer
        }
        Does::Say(status, text) => {
            response = response.status(status);
            Body::from(text)
        }
        Does::Hang => std::future::pending().await,
        Does::Late(ms) => {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            answer
        }
        Does::Wait(all) => {
            all.wait().await;
            answer
        }
    };
    response.body(body).unwrap()
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                continue;
            };
            // A client that does not like the certificate leaves; the next one may.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An address at which nobody listens, and nobody will: the port stays taken.
pub(crate) fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let at = socket.local_addr().unwrap();
    std::mem::forget(socket);
    at
}

/// A node that takes WebSocket handshakes, says whether the handshake was as it must be, and returns every byte.
pub(crate) async fn websocket_echo(expected_path: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream, expected_path));
        }
    });
    at
}

async fn echo(mut stream: TcpStream, expected_path: &str) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let good = head.starts_with(&format!("get {expected_path} http/1.1\r\n"))
        && head.contains("upgrade: websocket\r\n")
        && head.contains("sec-websocket-version: 13\r\n")
        && !["origin:", "cookie:", "authorization:"].iter().any(|name| head.contains(name));
    let status = if good { "101 Switching Protocols" } else { "400 Bad Request" };
    // The answer to the key that the client sends, from RFC 6455.
    let answer = format!(
        "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.ok()?;
    Some(())
}
