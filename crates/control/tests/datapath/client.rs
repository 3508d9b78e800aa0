//! A client that sends what it is told to, byte by byte, well-formed or not.

use std::fmt::Write as _;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::DEADLINE;

/// A usual request.
pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header's value; fails if it is there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} is there twice: {self:?}");
        first
    }

    /// Every header, names and values.
    pub(crate) fn text_of_headers(&self) -> String {
        format!("{:?}", self.headers)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `result` of a JSON-RPC answer: the fake nodes put their name there.
    #[track_caller]
    pub(crate) fn answered_by(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["result"].as_str().unwrap().to_owned()
    }

    /// Checks all that every error must be.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, rpc_code: i64, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("Content-Type"), Some("application/json"), "{self:?}");
        let body = self.json();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&"2.0".into(), &serde_json::Value::Null), "{body}");
        assert_eq!(
            (body["error"]["code"].as_i64(), body["error"]["data"]["code"].as_str()),
            (Some(rpc_code), Some(code))
        );
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(self.header("Retry-After"), (status == 503).then_some("1"), "{self:?}");
        self.expect_usual_headers();
    }

    /// Checks what stands on every response.
    #[track_caller]
    pub(crate) fn expect_usual_headers(&self) {
        assert_eq!(self.header("Access-Control-Allow-Origin"), Some("*"), "{self:?}");
        let exposed = self.header("Access-Control-Expose-Headers").unwrap_or_default();
        for name in ["Retry-After", "X-Request-Id", "X-RateLimit-Remaining"] {
            assert!(exposed.contains(name), "{name}: {self:?}");
        }
        assert!(self.header("X-Request-Id").is_some_and(|id| id.len() >= 32), "{self:?}");
    }
}

/// Sends `parts` one after the other and reads until the end.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, parts: &[&[u8]]) -> Option<Reply> {
    for part in parts {
        // The proxy may answer, and close, before it has read everything.
        if stream.write_all(part).await.is_err() {
            break;
        }
    }
    let _ = stream.flush().await;
    let mut all = Vec::new();
    let reading = async {
        let mut chunk = vec![0; 65_536];
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            all.extend_from_slice(&chunk[..count]);
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the response ends");
    parse(&all)
}

fn parse(mut all: &[u8]) -> Option<Reply> {
    loop {
        let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = (String::from_utf8_lossy(&all[..end]).into_owned(), &all[end + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        if status == 100 {
            all = body;
            continue;
        }
        let chunked = headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("Transfer-Encoding") && v == "chunked");
        let body = if chunked { unchunk(body) } else { body.to_vec() };
        return Some(Reply { status, headers, body });
    }
}

fn unchunk(mut chunked: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = chunked.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&chunked[..end]).unwrap().trim(), 16).unwrap();
        let Some(chunk) = chunked.get(end + 2..end + 2 + size).filter(|_| size > 0) else {
            break;
        };
        whole.extend_from_slice(chunk);
        chunked = &chunked[end + 2 + size + 2..];
    }
    whole
}

/// Sends raw bytes. They should ask for the connection to be closed.
pub(crate) async fn raw(port: u16, parts: &[&[u8]]) -> Reply {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy listens");
    exchange(stream, parts).await.expect("a whole response")
}

/// A request with a method, a path, header lines and a body, if there is one, with its length.
pub(crate) async fn request(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        head += "Host: rpc.example\r\n";
    }
    for line in headers {
        head += line;
        head += "\r\n";
    }
    if !body.is_empty() {
        let length = body.len();
        write!(head, "Content-Type: application/json\r\nContent-Length: {length}\r\n").unwrap();
    }
    raw(port, &[head.as_bytes(), b"\r\n", body.as_bytes()]).await
}

/// A usual call to `path`.
pub(crate) async fn call(port: u16, path: &str) -> Reply {
    request(port, "POST", path, &[], CALL).await
}

/// A GET that may meet nobody yet.
pub(crate) async fn try_get(port: u16, path: &str) -> Option<Reply> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    exchange(stream, &[head.as_bytes()]).await
}

/// A request to a unix socket.
pub(crate) async fn over_socket(socket: &std::path::Path, method: &str, path: &str) -> Reply {
    let stream = UnixStream::connect(socket).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    exchange(stream, &[head.as_bytes()]).await.expect("a whole response")
}
