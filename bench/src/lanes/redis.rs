//! A Redis or Valkey that counts rates.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::nginx::{PATIENCE, free_port};

/// Where one is, unless it is found by its name.
const PROGRAM: &str = "NODEWEIR_REDIS";

/// A running one, which writes nothing to disk. It ends when this goes out of scope.
pub(crate) struct Redis {
    child: Child,
    _folder: TempDir,
    pub(crate) port: u16,
}

impl Redis {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned());
        let (port, folder) = (free_port()?, tempfile::tempdir()?);
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child =
            command.spawn().with_context(|| format!("{program}: install redis-server, or name it in {PROGRAM}"))?;
        let redis = Self { child, _folder: folder, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > PATIENCE {
                bail!("Redis does not listen after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
