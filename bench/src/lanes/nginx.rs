//! Real nginx with one worker and a file of our own: the node that stands behind every way, and the plain proxy that
//! says what is possible.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nodeweir_control::proxy::Program;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::machine::worker;

/// No process is waited for longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The node's answer to everything, as long as that to an `eth_call`.
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":"0x0000000000000000000000000000000000000000000000000de0b6b3a7640000"}"#;

/// A port that nobody has now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running nginx. It ends, with its worker, when this goes out of scope.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) port: u16,
}

impl Nginx {
    /// A node that answers at once, at every address of this machine: so it can be a thousand nodes.
    pub(crate) fn node(program: &Program, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let server = format!(
            "  server {{\n    listen {port};\n    default_type application/json;\n    \
             location / {{ return 200 '{ANSWER}'; }}\n  }}\n"
        );
        Self::start(program, folder, port, &server)
    }

    /// What somebody writes who wants no more than a proxy that is fast: connections to the node are kept, bodies stay in
    /// memory, nothing is logged, nothing else is done.
    pub(crate) fn plain(program: &Program, folder: &Path, node: u16) -> anyhow::Result<Self> {
        let port = free_port()?;
        let server = format!(
            "  upstream node {{\n    server 127.0.0.1:{node};\n    keepalive 256;\n    keepalive_requests 1000000000;\n  }}\n  \
             server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://node;\n      \
             proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n"
        );
        Self::start(program, folder, port, &server)
    }

    fn start(program: &Program, folder: &Path, port: u16, server: &str) -> anyhow::Result<Self> {
        let user = if geteuid().is_root() { "user root root;\n" } else { "" };
        let text = format!(
            "daemon off;\npid nginx.pid;\nerror_log stderr error;\n{user}worker_processes 1;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path tmp/body;\n  proxy_temp_path tmp/proxy;\n  \
             fastcgi_temp_path tmp/fastcgi;\n  scgi_temp_path tmp/scgi;\n  uwsgi_temp_path tmp/uwsgi;\n  \
             keepalive_requests 1000000000;\n  client_max_body_size 1m;\n  client_body_buffer_size 1m;\n{server}}}\n",
        );
        fs::create_dir_all(folder.join("tmp"))?;
        fs::write(folder.join("nginx.conf"), text)?;
        let mut command = match &program.root {
            None => Command::new(&program.file),
            Some(root) => {
                let mut command = Command::new(&root.loader);
                command.arg("--library-path").arg(&root.libraries).arg(&program.file);
                command
            }
        };
        command.current_dir(folder).arg("-p").arg(folder).args(["-c", "nginx.conf"]).stdin(Stdio::null());
        let mut nginx = Self { child: command.spawn()?, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() || worker(nginx.pid()).is_err() {
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx ended at once: {status}");
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "nginx does not listen after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Its master's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("a process has a number")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its worker at this; killed, it would leave it behind.
        let _ = self.end();
        let _ = self.child.wait();
    }
}
