//! Fake nodes, in a process of their own so that their memory is not the prober's.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The first argument of a process that is to be nodes; then how many answer, how many never do, and the first one's port,
/// or 0 for any.
const WORD: &str = "be-nodes";

/// How many answer, and how many accept and stay silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) answering: usize,
    pub(crate) silent: usize,
}

/// Whether this process was started by [`Nodes::start_at`]: how many, and the first one's port.
pub(crate) fn asked_to_be_nodes() -> Option<(Counts, u16)> {
    let mut words = std::env::args().skip(1);
    let is_asked = words.next().as_deref() == Some(WORD);
    let mut count = || words.next()?.parse().ok();
    let counts = Counts { answering: count()?, silent: count()? };
    Some((counts, words.next()?.parse().ok()?)).filter(|_| is_asked)
}

/// Serves until the process that started this one is gone.
pub(crate) async fn serve(Counts { answering, silent }: Counts, first: u16) -> anyhow::Result<()> {
    for index in 0..answering + silent {
        let port = if index == 0 { first } else { 0 };
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("{}", listener.local_addr()?.port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if index < answering { answer(stream).await } else { stay_silent(stream).await }
                });
            }
        });
    }
    // Its end of the pipe closes with it.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// A head and a chain id, for any request.
async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        request.extend_from_slice(&chunk[..count]);
        // Our requests end with the brace of their body, and headers have none.
        if !request.ends_with(b"}") {
            continue;
        }
        let is_chain = request.windows(7).any(|part| part == b"chainId");
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":"0x1"}}"#, if is_chain { 2 } else { 1 });
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
        request.clear();
    }
}

async fn stay_silent(mut stream: TcpStream) {
    let mut sink = [0; 1024];
    while let Ok(1..) = stream.read(&mut sink).await {}
}

/// A running process of fake nodes.
pub(crate) struct Nodes {
    pub(crate) ports: Vec<u16>,
    child: Child,
    input: Option<ChildStdin>,
}

impl Nodes {
    pub(crate) fn start(counts: Counts) -> anyhow::Result<Self> {
        Self::start_at(counts, None)
    }

    /// The same; the first of them at this port, if one is given.
    pub(crate) fn start_at(counts: Counts, port: Option<u16>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([WORD, &counts.answering.to_string(), &counts.silent.to_string()]);
        command.arg(port.unwrap_or(0).to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        let ports = lines
            .take(counts.answering + counts.silent)
            .map(|line| Ok(line?.parse()?))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { ports, child, input })
    }

    /// As `kill -9` does: connections break, new ones are refused.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.child.wait();
    }
}
