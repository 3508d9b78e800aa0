//! A real Redis or Valkey, which may be killed, started again and stopped for a while.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::rig::{free_port, until};

/// Where one is, unless it is found by its name.
const PROGRAM: &str = "NODEWEIR_REDIS";

pub(crate) struct Redis {
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
    child: Child,
}

impl Redis {
    /// Starts one, with more arguments, and waits until it answers.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let child = spawn(port, &arguments, &folder);
        let mut redis = Self { port, arguments, folder, child };
        redis.answers().await;
        redis
    }

    /// How it is written in the gate's configuration.
    pub(crate) fn limits(&self) -> String {
        format!(", limits: {{store: 'redis://127.0.0.1:{}'}}", self.port)
    }

    /// Says something to it.
    pub(crate) async fn say(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(("127.0.0.1", self.port)).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut client.get_multiplexed_async_connection().await?).await
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.arguments, &self.folder);
        self.answers().await;
    }

    /// It keeps its connections and answers nobody.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    async fn answers(&mut self) {
        until("the server answers", async || {
            assert!(self.child.try_wait().unwrap().is_none(), "the server has ended");
            let said = self.say(&["PING"]).await;
            // One that wants a password is there too.
            said.as_ref().map_or_else(|error| error.to_string().contains("NOAUTH"), |_| true).then_some(())
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], folder: &TempDir) -> Child {
    let program = std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(&program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; scripts/test prepares one ({PROGRAM})"))
}
