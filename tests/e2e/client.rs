//! Clients that do not retry and forgive nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::process::until;

/// Longer than any `total` in these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }

    /// The result, if it is a good answer to a request that [`Connection::call`] makes.
    pub(crate) fn result(&self) -> Option<String> {
        let answer: Value = serde_json::from_str(&self.body).ok()?;
        let right = self.status == 200 && answer["id"] == 1 && answer["error"].is_null();
        answer["result"].as_str().filter(|_| right).map(str::to_owned)
    }

    /// Who answered, by the header that says so.
    pub(crate) fn endpoint(&self) -> &str {
        self.header("x-rpc-endpoint").unwrap_or_default()
    }
}

/// A kept connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        Self::open_at((Ipv4Addr::LOCALHOST, port).into()).await
    }

    /// The same on whatever machine.
    pub(crate) async fn open_at(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Whether the other side has not ended it, as far as this one has heard.
    #[allow(dead_code, reason = "not every suite keeps connections for long")]
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.0.get_ref().try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Calls a method without parameters on a connection of its own.
    pub(crate) async fn call(port: u16, path: &str, method: &str) -> io::Result<Answer> {
        Self::open(port).await?.post(path, &request(method)).await
    }

    /// Sends one request and reads its whole answer; a connection that ends before that is an error.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.post_with(path, &[], body).await
    }

    /// The same with more headers.
    pub(crate) async fn post_with(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        timeout(PATIENCE, self.exchange(path, headers, body)).await?
    }

    async fn exchange(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        let length = body.len();
        let more = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {first}")))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let body = match headers.get("content-length").map(|length| length.parse()) {
            Some(Ok(length)) => self.bytes(length).await?,
            Some(Err(error)) => return Err(io::Error::other(error)),
            None if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") => self.chunks().await?,
            None => Vec::new(),
        };
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line().await?, 16).map_err(io::Error::other)?;
            body.extend(self.bytes(length).await?);
            self.line().await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

/// A JSON-RPC request with the id 1.
pub(crate) fn request(method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#)
}

/// What came of one request.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    /// When it ended.
    pub(crate) at: Instant,
    /// Who answered, or what was wrong.
    pub(crate) outcome: Result<String, String>,
}

/// Steady load of kept connections. Each makes a request every few milliseconds, so that it is idle as often as busy
/// when something happens.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tried: Arc<Mutex<Vec<Tried>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(port: u16, clients: usize) -> Self {
        // The network's name is left out: all fleets have `ethereum` as their default.
        Self::start_at(port, "/v3", clients)
    }

    /// The same, calling `path`.
    pub(crate) fn start_at(port: u16, path: &str, clients: usize) -> Self {
        let (stop, tried) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Tried>>>::default());
        let place = Place { port, path: path.to_owned() };
        let client = |index| tokio::spawn(client(place.clone(), index, Arc::clone(&stop), Arc::clone(&tried)));
        let clients = (0..clients).map(client).collect();
        Self { stop, tried, clients }
    }

    /// Everything so far.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        self.tried.lock().unwrap().clone()
    }

    /// Waits until each of these has answered a request made from now on.
    pub(crate) async fn until_answered_by(&self, names: &[&str]) {
        let before = self.tried().len();
        let has_answered = |name: &&str| self.tried()[before..].iter().any(|one| one.outcome.as_deref() == Ok(name));
        until("each node answers clients", async || names.iter().all(has_answered).then_some(())).await;
    }

    /// Finishes the requests on their way and tells everything.
    pub(crate) async fn end(mut self) -> Vec<Tried> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.unwrap();
        }
        self.tried()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.clients.iter().for_each(JoinHandle::abort);
    }
}

/// Those that failed, and why.
pub(crate) fn failures(tried: &[Tried]) -> Vec<&str> {
    tried.iter().filter_map(|one| one.outcome.as_ref().err()).map(String::as_str).collect()
}

/// Where a client calls.
#[derive(Debug, Clone)]
struct Place {
    port: u16,
    path: String,
}

async fn client(place: Place, index: usize, stop: Arc<AtomicBool>, tried: Arc<Mutex<Vec<Tried>>>) {
    let mut kept = None;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let outcome = once(&place, &mut kept).await;
        tried.lock().unwrap().push(Tried { at: Instant::now(), outcome });
        tokio::time::sleep(Duration::from_millis(4 + u64::try_from(index + count).unwrap() % 7)).await;
    }
}

/// One request on the kept connection, or on a new one where none is kept.
async fn once(place: &Place, kept: &mut Option<Connection>) -> Result<String, String> {
    let is_new = kept.is_none();
    let mut connection = match kept.take() {
        Some(kept) => kept,
        None => Connection::open(place.port).await.map_err(|error| format!("connecting: {error}"))?,
    };
    let answer = connection.post(&place.path, &request("eth_blockNumber")).await;
    let answer = answer.map_err(|error| match error.kind() {
        // Whoever lets go of a port resets the connections to it that nobody had accepted yet.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe if is_new => format!("connecting: {error}"),
        _ => format!("no answer: {error}"),
    })?;
    if answer.header("connection") != Some("close") {
        *kept = Some(connection);
    }
    match answer.result() {
        Some(_) => Ok(answer.endpoint().to_owned()),
        None => Err(format!("{}: {}", answer.status, answer.body)),
    }
}
