//! Clients that do not retry and forgive nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The server said that it will close the connection.
    pub(crate) close: bool,
}

/// A kept connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one request and reads its whole answer; a connection that ends before that is an error.
    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut close) = (0, 0, false);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            } else if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            } else if line.starts_with("connection:") {
                close = line.ends_with("close");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), close })
    }
}

/// One request on a connection of its own.
pub(crate) async fn get(port: u16, path: &str) -> io::Result<Answer> {
    Connection::open(port).await?.get(path).await
}

/// Steady load of kept connections.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    /// `clients` connections, each with a request every few milliseconds, so that a connection is idle as often as
    /// busy when a reload comes.
    pub(crate) fn start(port: u16, clients: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients).map(|index| tokio::spawn(client(port, index, stop.clone()))).collect();
        Self { stop, clients }
    }

    /// How many requests were made, and what went wrong.
    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = (0, Vec::new());
        for client in self.clients {
            let (count, failures) = client.await.unwrap();
            all.0 += count;
            all.1.extend(failures);
        }
        all
    }
}

async fn client(port: u16, index: u64, stop: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let mut count = 0;
    let mut failures = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let mut kept = match connection.take() {
            Some(kept) => kept,
            None => match Connection::open(port).await {
                Ok(fresh) => fresh,
                Err(error) => {
                    failures.push(format!("connect: {error}"));
                    continue;
                }
            },
        };
        match kept.get("/").await {
            Ok(Answer { status: 200, close, .. }) => connection = (!close).then_some(kept),
            Ok(answer) => failures.push(format!("status {}", answer.status)),
            Err(error) => failures.push(format!("request: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(1 + (index + count) % 5)).await;
    }
    (count, failures)
}
