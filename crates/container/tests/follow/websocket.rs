//! WebSockets, as far as these tests need them: a call is a frame, and its answer another one.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::client::request;

const HANDSHAKE: &str = "GET /ethereum/ws/v3/key HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A last fragment of text.
const TEXT: u8 = 0x81;
/// With the length of what a client sends: it is masked. A mask of zeros changes nothing.
const MASKED: u8 = 0x80;
/// Lengths from here on are written differently.
const LONG: u8 = 126;

pub(crate) struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        stream.write_all(HANDSHAKE.as_bytes()).await?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if head.starts_with("HTTP/1.1 101 ") { Ok(Self(stream)) } else { Err(io::Error::other(head)) }
    }

    /// Calls a method, and returns its result.
    pub(crate) async fn call(&mut self, method: &str) -> io::Result<Value> {
        let call = request(method);
        let length = u8::try_from(call.len()).unwrap();
        assert!(length < LONG);
        self.0.write_all(&[&[TEXT, MASKED | length, 0, 0, 0, 0], call.as_bytes()].concat()).await?;
        let (kind, length) = (self.0.read_u8().await?, self.0.read_u8().await?);
        if kind != TEXT || length >= LONG {
            return Err(io::Error::other(format!("a frame of kind {kind:#x} and length {length}")));
        }
        let mut answer = vec![0; length.into()];
        self.0.read_exact(&mut answer).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["result"].take())
    }

    /// Waits until the other side ends it, in whatever way.
    pub(crate) async fn ended(mut self) {
        let _ = self.0.read_to_end(&mut Vec::new()).await;
    }
}
