//! Runs the real proxies: the only module that knows where they are and what a machine adds to the rendered file.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nodeweir_control::proxy::Program;
use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::fleet::node::resolve;
use nodeweir_domain::fleet::render::{REVISION, render};
use nodeweir_domain::fleet::roster::Rosters;

use crate::client;
use crate::rosters::MAIN;

/// The value of every secret.
pub(crate) const SECRET: &str = "s3cret-value";
/// What stands in the place of the revision's name.
pub(crate) const REVISION_NAME: &str = "r-7";
/// No test waits longer for anything. Far more than anything takes, for a machine that is slow or stands still for a while.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// For tests in which no time has to run out.
const PATIENT: &str = "connect: 3s, attempt: 20s, total: 90s";
/// For tests that wait until one has; what answers is still given time.
pub(crate) const BRIEF: &str = "connect: 500ms, attempt: 1500ms, total: 30s";

/// How nginx is told how long the gate may take.
const GATE_ANSWERS: &str = "_timeout 2000ms;";

/// What differs between tests beside the roster.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Lines of the configuration file under `proxy:`.
    pub(crate) proxy: &'static str,
    /// What stands there behind `gate:`. Most tests are about the way without it.
    pub(crate) gate: &'static str,
    /// The times: [`BRIEF`] where one has to run out.
    pub(crate) timeouts: &'static str,
    /// nginx waits for the gate as long as for a node: where the gate is there, its test is not about its speed.
    pub(crate) awaits_gate: bool,
    /// Port of a DNS server on this machine.
    pub(crate) dns: u16,
    /// Whom TLS nodes' certificates must come from, as PEM.
    pub(crate) authority: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy: "",
            gate: "{enabled: false}",
            timeouts: PATIENT,
            awaits_gate: false,
            dns: 1,
            authority: nobody_s_authority(),
        }
    }
}

/// Both programs want one, also where no node has TLS.
fn nobody_s_authority() -> String {
    let names = vec!["nobody.example".to_owned()];
    rcgen::generate_simple_self_signed(names).unwrap().cert.pem()
}

/// The configuration of a test.
pub(crate) fn config(kind: ProxyKind, rosters: &Rosters, port: u16, settings: &Settings) -> Config {
    let mut networks = String::new();
    for id in rosters.keys() {
        let leader = "{url: 'http://127.0.0.1:1'}";
        writeln!(networks, "  {id}: {{chain_id: 1, block_time: 12s, leader: {leader}}}").unwrap();
    }
    let Settings { proxy: more, timeouts, gate, .. } = settings;
    let text = format!(
        "default_network: {MAIN}\nnetworks:\n{networks}proxy:\n  kind: {kind}\n  listen: 127.0.0.1:{port}\n  timeouts:\n    \
         {{{timeouts}, shutdown: 1s}}\n{more}gate: {gate}\n"
    );
    Config::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The program, which is needed, not skipped.
fn program(kind: ProxyKind) -> Program {
    Program::find(kind).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes the folder of a proxy: what the machine adds, and `body` with its places filled in.
pub(crate) fn write_folder(folder: &Path, kind: ProxyKind, body: &str, settings: &Settings) {
    for sub in ["sock", "tmp", "usage"] {
        std::fs::create_dir_all(folder.join(sub)).unwrap();
    }
    let body = resolve(body, |_| Some(SECRET.to_owned())).unwrap().replace(REVISION, REVISION_NAME);
    std::fs::write(folder.join(kind.file_name()), body).unwrap();
    std::fs::write(folder.join("ca.pem"), &settings.authority).unwrap();
    let dns = settings.dns;
    match kind {
        ProxyKind::Nginx => {
            let user = if rustix::process::geteuid().is_root() { "user root root;\n" } else { "" };
            let main = format!("daemon off;\npid nginx.pid;\nerror_log stderr notice;\n{user}");
            std::fs::write(folder.join("host-main.conf"), main).unwrap();
            let http = format!("resolver 127.0.0.1:{dns} ipv6=off valid=1s;\nproxy_ssl_trusted_certificate ca.pem;\n");
            std::fs::write(folder.join("host-http.conf"), http).unwrap();
            let lua = program(kind).lua;
            std::fs::write(folder.join("host-lua-main.conf"), lua.nginx_main()).unwrap();
            std::fs::write(folder.join("host-lua-http.conf"), lua.nginx_http()).unwrap();
        }
        ProxyKind::Haproxy => {
            let host = format!(
                "global\n    log stdout format raw local0\n                 resolvers system\n    nameserver here 127.0.0.1:{dns}\n    timeout retry 200ms\n    hold nx 500ms\n"
            );
            std::fs::write(folder.join("host.cfg"), host).unwrap();
        }
    }
}

fn command(folder: &Path, kind: ProxyKind, check: bool) -> Command {
    let program = program(kind);
    let mut command = match &program.root {
        Some(root) => {
            let mut command = Command::new(&root.loader);
            command.arg("--library-path").arg(&root.libraries).arg(&program.file);
            command
        }
        None => Command::new(&program.file),
    };
    command.current_dir(folder).stdin(Stdio::null());
    match kind {
        ProxyKind::Nginx => command.arg("-p").arg(folder).args(["-c", "nginx.conf"]).args(check.then_some("-t")),
        ProxyKind::Haproxy => {
            command.arg(if check { "-c" } else { "-W" }).args(["-f", "host.cfg", "-f", "haproxy.cfg"])
        }
    };
    command
}

/// Whether the program itself accepts the folder's file, and what it says.
pub(crate) fn check(folder: &Path, kind: ProxyKind) -> Output {
    command(folder, kind, true).output().unwrap()
}

/// A running proxy. It is stopped, with its workers, when this goes out of scope.
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Proxy {
    /// Starts `kind` with `rosters` and waits until it serves.
    pub(crate) async fn start(kind: ProxyKind, rosters: &Rosters) -> Self {
        Self::start_with(kind, rosters, &Settings::default()).await
    }

    /// The same, with settings of its own.
    pub(crate) async fn start_with(kind: ProxyKind, rosters: &Rosters, settings: &Settings) -> Self {
        let port = free_port();
        Self::start_in(tempfile::tempdir().unwrap(), port, kind, rosters, settings).await
    }

    /// The same in a folder that was made before, with somebody's socket in it perhaps.
    pub(crate) async fn start_in(
        folder: tempfile::TempDir,
        port: u16,
        kind: ProxyKind,
        rosters: &Rosters,
        settings: &Settings,
    ) -> Self {
        let mut body = render(rosters, &config(kind, rosters, port, settings));
        if settings.awaits_gate {
            assert!(body.contains(GATE_ANSWERS), "the time that the gate has stands in the file");
            body = body.replace(GATE_ANSWERS, "_timeout 20000ms;");
        }
        write_folder(folder.path(), kind, &body, settings);
        let mut child =
            command(folder.path(), kind, false).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        let mut proxy = Self { kind, port, folder, child, output };
        let end = Instant::now() + DEADLINE;
        while client::try_get(port, "/livez").await.is_none_or(|reply| reply.status != 200) {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{kind} does not serve ({ended:?}):\n{}", proxy.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy
    }

    /// All that it and its workers printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The lines of its access log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.output().lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        // The parent ends its workers at this; killed, it would leave them behind.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.kind, self.output());
        }
    }
}

fn collect(from: impl Read + Send + 'static, to: &Arc<Mutex<String>>) {
    let to = Arc::clone(to);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let mut to = to.lock().unwrap();
            to.push_str(&String::from_utf8_lossy(&line));
            to.push('\n');
        }
    });
}

/// A port below those that the system hands out, so that no node of another test can take it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 97).unwrap() * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `what` is so.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
