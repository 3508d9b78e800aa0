//! What the system says of processes, and of the rest of the machine.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::param::clock_ticks_per_second;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The machine and the moment, in a line.
pub(crate) fn describe() -> anyhow::Result<String> {
    let read = |file: &str| std::fs::read_to_string(file).with_context(|| format!("reading {file}"));
    let first = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let (processor, memory) =
        (first(&read("/proc/cpuinfo")?, "model name"), first(&read("/proc/meminfo")?, "MemTotal"));
    let memory: f64 = memory.split_whitespace().next().unwrap_or_default().parse().unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let (kernel, loads) = (read("/proc/sys/kernel/osrelease")?, read("/proc/loadavg")?);
    let loads: Vec<_> = loads.split_whitespace().take(2).collect();
    Ok(format!(
        "{}: {cores} cores of {processor}, {:.1} GiB of memory, Linux {}; load average before: {}.",
        Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        memory / f64::from(1024 * 1024),
        kernel.trim(),
        loads.join(", ")
    ))
}

/// CPU time that a process has taken so far.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    of_stat(&format!("/proc/{pid}/stat"), 11)
}

/// CPU time of all processes that this one has started and that have ended.
pub(crate) fn cpu_of_ended() -> anyhow::Result<Duration> {
    of_stat("/proc/self/stat", 13)
}

/// Two fields of a process, counted from the one after its name.
fn of_stat(path: &str, field: usize) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(path)?;
    let fields = text.rsplit_once(')').context("a name stands in brackets")?.1;
    let fields: Vec<_> = fields.split_whitespace().skip(field).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks(fields.iter().sum()))
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / clock_ticks_per_second())
}

/// Processes that a process has started and that have not been waited for.
pub(crate) fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The one worker of a proxy's master.
pub(crate) fn worker(master: u32) -> anyhow::Result<u32> {
    let workers = children(master)?;
    let [worker] = workers.as_slice() else { anyhow::bail!("one worker is expected, not {workers:?}") };
    Ok(*worker)
}

/// A process's share of the memory that is resident (PSS), in MiB: what several have counts once among them.
pub(crate) fn share_mib(pid: u32) -> anyhow::Result<f64> {
    of_rollup(pid, "Pss:")
}

/// A line of what the kernel says of all memory of a process, in MiB.
fn of_rollup(pid: u32, name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("the kernel does not say")?;
    let kib: f64 = line.split_whitespace().next().context("a number is expected")?.parse()?;
    Ok(kib / 1024.0)
}

/// Memory that is resident, in MiB.
pub(crate) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    of_rollup(pid, "Rss:")
}

/// A part of all cores' time, in tenths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Share(u64);

impl Share {
    pub(crate) const fn percent(percent: u64) -> Self {
        Self(percent * 10)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
}

/// What the machine and our processes had done at one moment.
pub(crate) struct Calm {
    all: Duration,
    busy: Duration,
    stolen: Duration,
    own: Duration,
}

impl Calm {
    /// `pids` are ours; this process and those that it has started and that have ended are too.
    pub(crate) fn now(pids: &[u32]) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("the first line is of all cores")?;
        // User, nice, system, idle, waiting, interrupts, soft ones, stolen.
        let spent: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        let idle = spent.iter().skip(3).take(2).sum();
        let mut own = cpu(std::process::id())? + cpu_of_ended()?;
        for pid in pids {
            own += cpu(*pid)?;
        }
        let (all, stolen) = (ticks(spent.iter().sum()), ticks(spent.get(7).copied().unwrap_or_default()));
        Ok(Self { all, busy: all.saturating_sub(ticks(idle) + stolen), stolen, own })
    }

    /// What others took of the machine since then: other processes, and whoever the hypervisor gave the cores to.
    /// That may be too little by the latter, which the system counts as time of the processes that it stopped.
    pub(crate) fn others_since(&self, pids: &[u32]) -> anyhow::Result<Share> {
        let now = Self::now(pids)?;
        let processes = now.busy.saturating_sub(self.busy).saturating_sub(now.own.saturating_sub(self.own));
        let others = processes + now.stolen.saturating_sub(self.stolen);
        let all = now.all.saturating_sub(self.all).as_millis().max(1);
        Ok(Share(u64::try_from(others.as_millis() * 1000 / all)?))
    }
}

/// What a gate says it has counted: the sum of all values of `name` whose labels have `part` in them.
pub(crate) async fn counted(admin: u16, name: &str, part: &str) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let values = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix("nodeweir_gate_")?.strip_prefix(name)?.rsplit_once(' ')?;
        labels.contains(part).then(|| value.parse::<u64>())
    });
    let values: Vec<u64> = values.collect::<Result<_, _>>()?;
    anyhow::ensure!(!values.is_empty(), "the gate counts no {name} with {part:?}");
    Ok(values.iter().sum())
}
