//! Which processes are the proxy of one folder, read from `/proc`.
//!
//! A proxy outlives its supervisor on purpose, and workers may outlive their master. So before a new one starts, the
//! old ones must be found, and nobody else may be taken for them: a process is ours when it works in our folder
//! **and** looks like the proxy. Where the folder of a process is hidden (a root without `CAP_SYS_PTRACE`, as in many
//! containers, may not look at workers of another user), its process group must be the recorded one instead.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nodeweir_domain::config::ProxyKind;
use rustix::process::{Pid, Signal, kill_process};

/// First argument under which nginx is run: its titles hide the rest of the arguments.
pub(super) const NGINX_ARG0: &str = "nodeweir-nginx";

/// A running process of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Process that started it, or that inherited it.
    pub(super) parent: i32,
    /// When it was started, in ticks since boot: tells it from a later process with the same pid.
    started: u64,
    pub(super) kind: ProxyKind,
}

/// What is written down about a master when it is started: `<pid> <start> <boot>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pid: i32,
    started: u64,
    boot: String,
}

impl Record {
    /// Of a process that runs now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self { pid, started: stat.started, boot: boot()? })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let record = Self {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(record)
    }

    /// Whether a process with this stat can belong to the recorded master's group.
    fn covers(&self, stat: &Stat) -> bool {
        stat.group == self.pid && stat.started >= self.started && Some(&self.boot) == boot().as_ref()
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {} {}", self.pid, self.started, self.boot)
    }
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

impl Process {
    /// Whether it still runs; a zombie does not, whoever fails to collect it.
    pub(super) fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && !stat.dead)
    }

    /// Sends a signal, unless it is gone.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // Gone meanwhile, or not ours to signal: the caller looks at what remains.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks for a graceful end: no new connections, requests in flight go on. Masters and workers of nginx know the
    /// same signal; HAProxy's workers end with their master.
    pub(super) fn quit(&self) {
        self.signal(quit_signal(self.kind));
    }
}

/// Asks a proxy for a graceful end.
pub(super) fn quit_signal(kind: ProxyKind) -> Signal {
    match kind {
        ProxyKind::Nginx => Signal::QUIT,
        ProxyKind::Haproxy => Signal::USR1,
    }
}

/// Every process that is a proxy of `folder`, of either kind, masters and workers.
pub(super) fn ours(folder: &Path, record: Option<&Record>) -> Vec<Process> {
    let Ok(home) = fs::metadata(folder) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let kind = looks_like(&fs::read(format!("/proc/{pid}/cmdline")).ok()?)?;
            let stat = Stat::read(pid).filter(|stat| !stat.dead)?;
            let here = match fs::metadata(format!("/proc/{pid}/cwd")) {
                Ok(cwd) => (cwd.dev(), cwd.ino()) == (home.dev(), home.ino()),
                Err(_) => record.is_some_and(|record| record.covers(&stat)),
            };
            here.then_some(Process { pid, parent: stat.parent, started: stat.started, kind })
        })
        .collect()
}

/// Those whom nobody else among them will end: masters, and workers without one.
pub(super) fn heads(processes: &[Process]) -> impl Iterator<Item = &Process> {
    processes.iter().filter(|one| !processes.iter().any(|other| other.pid == one.parent))
}

/// Which proxy a command line belongs to. nginx writes its titles over it; HAProxy leaves it. Checkers are none.
fn looks_like(cmdline: &[u8]) -> Option<ProxyKind> {
    let text = String::from_utf8_lossy(cmdline);
    let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    let title = |word: &&str| word.starts_with("nginx: ") && word.contains(" process");
    if words.first() == Some(&NGINX_ARG0) || words.iter().any(title) {
        return Some(ProxyKind::Nginx);
    }
    let named = words.iter().any(|word| Path::new(word).file_name().is_some_and(|name| name == "haproxy"));
    let serves = words.contains(&"-W") && words.windows(2).any(|pair| pair == ["-f", super::folder::HAPROXY_HOST]);
    (named && serves).then_some(ProxyKind::Haproxy)
}

/// The parts of `/proc/<pid>/stat` that matter.
struct Stat {
    dead: bool,
    parent: i32,
    group: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See `proc_pid_stat(5)`. The second field, the command in parentheses, may itself hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            dead: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_proxies_look_like_one() {
        for (line, expected) in [
            ("nginx: master process /usr/sbin/nginx -e stderr -p ./", Some(ProxyKind::Nginx)),
            ("nginx: worker process is shutting down", Some(ProxyKind::Nginx)),
            ("/r/ld-linux.so\0--library-path\0/r/lib\0nginx: worker process\0\0\0", Some(ProxyKind::Nginx)),
            ("nodeweir-nginx", Some(ProxyKind::Nginx)),
            ("nodeweir-nginx-check\0-t", None),
            ("/usr/sbin/nginx\0-t\0-p\0./", None),
            ("vim\0nginx.conf", None),
            ("haproxy\0-sf\x0012\0-W\0-f\0host.cfg\0-f\0haproxy.cfg", Some(ProxyKind::Haproxy)),
            ("/r/ld.so\0/r/usr/sbin/haproxy\0-W\0-f\0host.cfg\0-f\0haproxy.cfg", Some(ProxyKind::Haproxy)),
            ("/usr/sbin/haproxy\0-c\0-f\0host.cfg\0-f\0haproxy.cfg.new", None),
            ("/usr/sbin/haproxy\0-W\0-f\0/etc/haproxy/haproxy.cfg", None),
            ("vim\0host.cfg\0haproxy.cfg", None),
            ("", None),
        ] {
            assert_eq!(looks_like(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let rest = "S 7 8 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 4711 0";
        let stat = Stat::parse(&format!("12 (a) b) {rest}")).unwrap();
        assert_eq!((stat.dead, stat.parent, stat.group, stat.started), (false, 7, 8, 4711));
        assert!(Stat::parse("12 (a) S 7").is_none());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let me = i32::try_from(std::process::id()).unwrap();
        let record = Record::of(me).unwrap();
        assert_eq!(Record::parse(&record.to_string()), Some(record));
        for bad in ["", "1", "1 2", "x 2 b", "1 2 b more"] {
            assert_eq!(Record::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn heads_are_those_without_a_parent_among_them() {
        let process = |pid, parent| Process { pid, parent, started: 1, kind: ProxyKind::Nginx };
        let all = [process(10, 1), process(11, 10), process(20, 1)];
        assert_eq!(heads(&all).map(|one| one.pid).collect::<Vec<_>>(), [10, 20]);
    }

    #[test]
    fn nobody_is_ours_in_a_fresh_folder() {
        assert_eq!(ours(&std::env::temp_dir(), None), []);
        assert_eq!(ours(Path::new("/does/not/exist"), None), []);
    }
}
