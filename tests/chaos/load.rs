//! Clients that call at a steady rate, whatever becomes of their calls, and do not try again.
//!
//! A call begins when it is due, not when an earlier one has ended: what hangs is not left out of the count. Connections
//! are kept, as many as are needed; one that the other side has ended is not used again, as is usual.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::client::{Answer, Connection};
use crate::nodes::HEAD;
use crate::process::until;

/// Between two calls: a hundred each second.
const PACE: Duration = Duration::from_millis(10);
/// Connections that were idle for longer are not used again: the server may be about to end them.
const IDLE: Duration = Duration::from_secs(5);
/// The account that each anvil endows, and with how much: ten thousand ether.
const RICH: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const RICHES: &str = "0x21e19e0c9bab2400000";

/// How a call may fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// Nobody listened, or who did let go before the connection was accepted.
    NotConnected,
    /// The connection ended before the answer did.
    Broken,
    /// The answer is an error as the contract has it: status and `error.data.code`.
    Refused(u16, String),
    /// Anything else, which nobody promised.
    Wrong(String),
}

impl Failure {
    pub(crate) fn refused(status: u16, code: &str) -> Self {
        Self::Refused(status, code.to_owned())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::Broken => f.write_str("broken off"),
            Self::Refused(status, code) => write!(f, "{status} `{code}`"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

/// One call and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) number: u64,
    /// When it was due.
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// Who answered, by the header that says so.
    pub(crate) outcome: Result<String, Failure>,
}

/// The clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    path: String,
    begun: AtomicU64,
    idle: Mutex<Vec<(Connection, Instant)>>,
    ended: Mutex<Vec<Call>>,
}

impl Load {
    /// Calls `path` at an address until it is dropped.
    pub(crate) fn start(address: SocketAddr, path: String) -> Self {
        let (begun, idle, ended) = Default::default();
        let shared = Arc::new(Shared { address, path, begun, idle, ended });
        let calls = Arc::clone(&shared);
        let pacer = tokio::spawn(async move {
            // What a machine that stood still kept from being called is called at once.
            let mut due = tokio::time::interval(PACE);
            loop {
                let began = due.tick().await.into_std();
                let number = calls.begun.fetch_add(1, Ordering::Relaxed);
                let calls = Arc::clone(&calls);
                tokio::spawn(async move {
                    let outcome = calls.once(number).await;
                    let call = Call { number, began, took: began.elapsed(), outcome };
                    calls.ended.lock().unwrap().push(call);
                });
            }
        });
        Self { shared, pacer }
    }

    /// How many calls have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// How many connections there are at most.
    pub(crate) fn connections(&self) -> usize {
        let ended = self.shared.ended.lock().unwrap().len();
        let in_use = usize::try_from(self.begun()).unwrap() - ended;
        in_use + self.shared.idle.lock().unwrap().len()
    }

    /// Goes on until so many more calls have begun.
    pub(crate) async fn goes_on(&self, calls: u64) {
        let goal = self.begun() + calls;
        until("calls begin", async || (self.begun() >= goal).then_some(())).await;
    }

    /// The calls from the one of this number on, of which each that has begun by now has ended.
    pub(crate) async fn since(&self, first: u64) -> Vec<Call> {
        let all = first..self.begun();
        let ended = || -> Vec<Call> {
            let ended = self.shared.ended.lock().unwrap();
            ended.iter().filter(|call| all.contains(&call.number)).cloned().collect()
        };
        let count = usize::try_from(all.end - all.start).unwrap();
        let mut calls = until("each call ends", async || Some(ended()).filter(|calls| calls.len() == count)).await;
        calls.sort_by_key(|call| call.number);
        calls
    }

    /// Makes no more calls, waits until each has ended, and says how many there were.
    pub(crate) async fn end(&self) -> u64 {
        self.pacer.abort();
        until("calls stop", async || self.pacer.is_finished().then_some(())).await;
        u64::try_from(self.since(0).await.len()).unwrap()
    }

    /// Waits until a call has been answered that begins from now on. By whom is nobody's promise: nginx goes on counting what
    /// a worker had in hand when it was killed, and prefers other nodes until the next reload.
    pub(crate) async fn until_answered(&self) {
        let first = self.begun();
        let is_answered = |call: &Call| call.number >= first && call.outcome.is_ok();
        let look = async || self.shared.ended.lock().unwrap().iter().any(is_answered).then_some(());
        until("clients are answered", look).await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pacer.abort();
    }
}

/// How often each failure is among calls.
pub(crate) fn failures<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeMap<Failure, usize> {
    let mut counts = BTreeMap::new();
    for failure in calls.into_iter().filter_map(|call| call.outcome.as_ref().err()) {
        *counts.entry(failure.clone()).or_default() += 1;
    }
    counts
}

impl Shared {
    async fn once(&self, id: u64) -> Result<String, Failure> {
        let kept = self.kept();
        let is_new = kept.is_none();
        let mut connection = match kept {
            Some(kept) => kept,
            None => Connection::open_at(self.address).await.map_err(|_| Failure::NotConnected)?,
        };
        let (method, params, result) = match id % 2 {
            0 => ("eth_blockNumber", "[]".to_owned(), format!("{HEAD:#x}")),
            _ => ("eth_getBalance", format!(r#"["{RICH}","latest"]"#), RICHES.to_owned()),
        };
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let answer = connection.post(&self.path, &body).await.map_err(|error| match error.kind() {
            // Whoever lets go of a port resets the connections to it that nobody had accepted yet.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe if is_new => Failure::NotConnected,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Failure::Broken
            }
            _ => Failure::Wrong(error.to_string()),
        })?;
        if answer.header("connection") != Some("close") {
            self.idle.lock().unwrap().push((connection, Instant::now()));
        }
        judge(&answer, id, &result)
    }

    /// The connection that was used last, if it may be used again.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap();
        idle.retain(|(connection, since)| since.elapsed() < IDLE && connection.is_open());
        idle.pop().map(|(connection, _)| connection)
    }
}

/// Who answered, if the answer is the right one; or how it fails.
fn judge(answer: &Answer, id: u64, result: &str) -> Result<String, Failure> {
    let wrong = || Failure::Wrong(format!("{}: {}", answer.status, answer.body));
    let body: Value = serde_json::from_str(&answer.body).map_err(|_| wrong())?;
    if answer.status == 200 {
        let is_right = body["id"] == id && body["result"] == result && body["error"].is_null();
        return if is_right { Ok(answer.endpoint().to_owned()) } else { Err(wrong()) };
    }
    let (error, has) = (&body["error"], |name, value| answer.header(name) == Some(value));
    // Without the gate there is nobody who could repeat the id.
    let is_as_agreed = (body["id"] == id || body["id"].is_null())
        && error["code"].is_i64()
        && error["message"].is_string()
        && has("content-type", "application/json")
        && has("access-control-allow-origin", "*")
        && answer.header("x-request-id").is_some_and(|id| !id.is_empty())
        && (answer.status != 503 || has("retry-after", "1"));
    match error["data"]["code"].as_str() {
        Some(code) if is_as_agreed => Err(Failure::refused(answer.status, code)),
        _ => Err(wrong()),
    }
}
