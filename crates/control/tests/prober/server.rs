//! A server that does as it is told, byte by byte.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that were accepted.
    pub(crate) connections: AtomicUsize,
    /// Requests, each with head and body.
    pub(crate) requests: Mutex<Vec<String>>,
    /// Bytes that it could send.
    pub(crate) sent: AtomicU64,
    /// Connections of which the other side was seen to be gone.
    pub(crate) closed: AtomicUsize,
}

impl Seen {
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One accepted connection.
pub(crate) struct Visit {
    pub(crate) stream: TcpStream,
    /// From 0.
    pub(crate) number: usize,
    pub(crate) seen: Arc<Seen>,
}

impl Visit {
    /// The next request, noted; `None` when there is none.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let request = read_request(&mut self.stream).await?;
        self.seen.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// Sends; `false` when nobody takes it any more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let is_sent = self.stream.write_all(bytes).await.is_ok();
        if is_sent {
            self.seen.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
        is_sent
    }

    /// Holds the connection until the other side ends it.
    pub(crate) async fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        self.seen.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads one request with a Content-Length.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut chunk).await {
            Ok(count @ 1..) => all.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
}

/// A header's value; fails if it is there twice.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    let mut found =
        head.lines().filter_map(|line| line.split_once(": ")).filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let first = found.next();
    assert!(found.next().is_none(), "{name} is there twice: {request}");
    first.map(|(_, value)| value)
}

/// Listens on a free port until it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Does `behave` with each connection.
    pub(crate) async fn start<Ended>(behave: impl Fn(Visit) -> Ended + Send + 'static) -> Self
    where
        Ended: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(Visit { stream, number, seen: Arc::clone(&shared) }));
            }
        });
        Self { port, seen, task }
    }

    /// Answers each request with what `answer` makes of its number (over all connections) and itself.
    pub(crate) async fn answering(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let count = Arc::new(AtomicUsize::new(0));
        Self::start(move |mut visit| {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            async move {
                while let Some(request) = visit.request().await {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    if !visit.send(&answer(number, &request)).await {
                        break;
                    }
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// An answer with a length.
pub(crate) fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// What a good node on chain `chain_id` answers.
pub(crate) fn good(chain_id: u64, request: &str) -> Vec<u8> {
    let (id, result) = if request.contains("eth_chainId") { (2, chain_id) } else { (1, 0x1b4) };
    http("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{result:#x}"}}"#))
}
