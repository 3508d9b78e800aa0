//! Real nginx with one worker: the proxy as Nodeweir renders it, and a stub of a node.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nodeweir_control::proxy::Program;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Address, resolve};
use nodeweir_domain::fleet::render::{REVISION, render};
use nodeweir_domain::fleet::roster::{Member, Roster, Rosters, Source};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::gate::setting::NETWORK;

/// No process is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its answer to everything, as long as that to an `eth_call`.
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":"0x0000000000000000000000000000000000000000000000000de0b6b3a7640000"}"#;

/// A port that nobody has now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running nginx. It ends, with its worker, when this goes out of scope.
pub(crate) struct Nginx {
    child: Child,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Nginx {
    /// A node that answers at once.
    pub(crate) fn stub(program: &Program, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let text = format!(
            "daemon off;\npid nginx.pid;\nerror_log stderr error;\n{}worker_processes 1;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path tmp/body;\n  proxy_temp_path tmp/proxy;\n  \
             fastcgi_temp_path tmp/fastcgi;\n  scgi_temp_path tmp/scgi;\n  uwsgi_temp_path tmp/uwsgi;\n  \
             keepalive_requests 1000000000;\n  client_body_buffer_size 1m;\n  server {{\n    \
             listen 127.0.0.1:{port};\n    default_type application/json;\n    \
             location / {{ return 200 '{ANSWER}'; }}\n  }}\n}}\n",
            user(),
        );
        fs::create_dir_all(folder.join("tmp"))?;
        fs::write(folder.join("nginx.conf"), text)?;
        Self::start(program, folder, port)
    }

    /// The proxy in front of a node at `node`, in a folder where a gate may stand.
    pub(crate) fn proxy(program: &Program, folder: &Path, config: &Config, node: u16) -> anyhow::Result<Self> {
        for sub in ["sock", "tmp", "usage"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let address = Address { url: format!("http://127.0.0.1:{node}").parse()?, ws_url: None, host: None };
        let member = Member { name: "stub".parse()?, weight: 1, address };
        let roster = Roster { source: Source::Nodes, members: vec![member], fallback: None };
        let body = render(&Rosters::from([(NETWORK.parse()?, roster)]), config);
        let body = resolve(&body, |_| None).context("filling in secrets")?.replace(REVISION, "r-1");
        let one = body.replace("worker_processes auto;", "worker_processes 1;");
        anyhow::ensure!(one != body, "the template does not say `worker_processes auto;` any more");
        fs::write(folder.join("nginx.conf"), one)?;
        let main = format!("daemon off;\npid nginx.pid;\nerror_log stderr error;\n{}", user());
        fs::write(folder.join("host-main.conf"), main)?;
        // Nobody's: no node here has TLS, and nginx wants one all the same.
        let authority = rcgen::generate_simple_self_signed(vec!["nobody.example".to_owned()])?.cert.pem();
        fs::write(folder.join("ca.pem"), authority)?;
        let http = "resolver 127.0.0.1:1 ipv6=off;\nproxy_ssl_trusted_certificate ca.pem;\n";
        fs::write(folder.join("host-http.conf"), http)?;
        fs::write(folder.join("host-lua-main.conf"), program.lua.nginx_main())?;
        fs::write(folder.join("host-lua-http.conf"), program.lua.nginx_http())?;
        Self::start(program, folder, config.proxy.listen.port())
    }

    fn start(program: &Program, folder: &Path, port: u16) -> anyhow::Result<Self> {
        let mut command = match &program.root {
            None => Command::new(&program.file),
            Some(root) => {
                let mut command = Command::new(&root.loader);
                command.arg("--library-path").arg(&root.libraries).arg(&program.file);
                command
            }
        };
        command.current_dir(folder).arg("-p").arg(folder).args(["-c", "nginx.conf"]).stdin(Stdio::null());
        let mut nginx = Self { child: command.spawn()?, folder: folder.to_owned(), port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() || nginx.worker().is_err() {
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx ended at once: {status}");
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "nginx does not listen after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Its worker's process.
    pub(crate) fn worker(&self) -> anyhow::Result<u32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let workers: Vec<_> = children.split_whitespace().collect();
        let [worker] = workers.as_slice() else { bail!("one worker is expected, not {workers:?}") };
        Ok(worker.parse()?)
    }

    /// Puts the log of usage away, as its supervisor does with a full one.
    pub(crate) fn rotate(&self, number: usize) -> anyhow::Result<()> {
        let log = self.folder.join("usage/requests.log");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            fs::rename(&log, self.folder.join(format!("usage/requests.log.{number}")))?;
            self.signal(Signal::USR1)?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its worker at this; killed, it would leave it behind.
        let _ = self.signal(Signal::TERM);
        let _ = self.child.wait();
    }
}

fn user() -> &'static str {
    if geteuid().is_root() { "user root root;\n" } else { "" }
}
