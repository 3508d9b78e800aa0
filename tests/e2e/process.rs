//! Children and the processes they leave behind, ended by their ids; and conditions that are waited for.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing takes nearly as long unless something is wrong. More than what the programs of client libraries give a library.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Polls until there is something, and returns it.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_or(look, || format!("not in time: {what}")).await
}

/// The same; what is said when it does not come may depend on what was seen last.
pub(crate) async fn until_or<T>(mut look: impl AsyncFnMut() -> Option<T>, complaint: impl Fn() -> String) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{}", complaint());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A port that nobody uses, out of the range that the system gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child that does not outlive its test.
pub(crate) struct Owned(pub(crate) Child);

impl Owned {
    pub(crate) fn signal(&self, signal: Signal) {
        send(i32::try_from(self.0.id()).unwrap(), signal);
    }

    /// Whether it still runs; collects it if not.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process that may be gone.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// The proxy that a killed `nodeweir` leaves behind, found by the id it wrote down and by where it works.
pub(crate) struct Proxy(pub(crate) PathBuf);

impl Proxy {
    /// The master's process, if it runs.
    pub(crate) fn master(&self) -> Option<i32> {
        let record = fs::read_to_string(self.0.join("proxy.pid")).ok()?;
        let pid: i32 = record.split_ascii_whitespace().next()?.parse().ok()?;
        self.all().contains(&pid).then_some(pid)
    }

    /// Every living process that works in the folder, or was started by one that did: the folder of a worker, which
    /// runs as another user, may be hidden even from root.
    pub(crate) fn all(&self) -> Vec<i32> {
        let record = fs::read_to_string(self.0.join("proxy.pid")).unwrap_or_default();
        let group = record.split_ascii_whitespace().next().unwrap_or("none");
        let Ok(home) = self.0.canonicalize() else { return Vec::new() };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let Some((state, its_group)) = state_and_group(*pid) else { return false };
            let here = match fs::read_link(format!("/proc/{pid}/cwd")) {
                Ok(cwd) => cwd == home,
                Err(_) => its_group == group && is_proxy(*pid),
            };
            here && state != "Z"
        };
        pids.filter(is_ours).collect()
    }

    /// Ends all of it.
    fn end(&self) {
        for (signal, patience) in [(Signal::TERM, 3000), (Signal::KILL, 3000)] {
            let end = Instant::now() + Duration::from_millis(patience);
            for pid in self.all() {
                send(pid, signal);
            }
            while Instant::now() < end {
                if self.all().is_empty() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        // A link to memory, which a killed proxy leaves for the next one.
        if let Ok(used) = fs::read_link(self.0.join("usage")) {
            let _ = fs::remove_dir_all(used);
        }
    }
}

fn is_proxy(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    line.contains("nginx") || line.contains("haproxy")
}

/// State and process group, from after the command's name, which may hold anything.
fn state_and_group(pid: i32) -> Option<(String, String)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.nth(1)?))
}

/// A program of the workspace that `cargo test --workspace` has built beside `other`, one of the package's own.
pub(crate) fn sibling(other: &str, name: &str) -> PathBuf {
    let program = Path::new(other).with_file_name(name);
    let changed = |file: &Path| fs::metadata(file).and_then(|file| file.modified());
    let build = format!("run `cargo build --workspace --bin {name}`");
    let Ok(built) = changed(&program) else { panic!("there is no {}: {build}", program.display()) };
    // As make has it: the program, a colon, its sources; a space in a name has a backslash before it. Only `cargo build`
    // notes it; where nobody ever ran that, `cargo test --workspace` has made the program just now.
    let Ok(rule) = fs::read_to_string(program.with_extension("d")) else { return program };
    let (_, sources) = rule.lines().next().and_then(|line| line.split_once(": ")).expect("a rule");
    for source in sources.replace("\\ ", "\0").split_ascii_whitespace().map(|source| source.replace('\0', " ")) {
        let is_in = changed(Path::new(&source)).is_ok_and(|changed| changed <= built);
        assert!(is_in, "{} is older than {source}: {build}", program.display());
    }
    program
}
