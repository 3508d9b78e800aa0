//! A real Redis or Valkey, which may be killed and started again.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Owned, free_port, until};

/// Where one is, unless it is found by its name.
const PROGRAM: &str = "NODEWEIR_REDIS";

pub(crate) struct Redis {
    pub(crate) port: u16,
    folder: TempDir,
    child: Owned,
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let child = spawn(port, &folder);
        answers(port).await;
        Self { port, folder, child }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.signal(Signal::KILL);
        self.child.0.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder);
        answers(self.port).await;
    }
}

async fn answers(port: u16) {
    until("the server answers", async || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"+PONG").then_some(())
    })
    .await;
}

fn spawn(port: u16, folder: &TempDir) -> Owned {
    let program = std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(&program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    Owned(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; scripts/test prepares one ({PROGRAM})")))
}
