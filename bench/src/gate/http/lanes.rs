//! Ways through nginx that stand side by side, of which one at a time is loaded.

use std::cell::Cell;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nodeweir_control::proxy::Program;
use nodeweir_domain::config::ProxyKind;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::nginx::{Nginx, free_port};
use super::redis::Redis;
use super::wrk::{self, Run};
use crate::gate::child::{CONFIG, Gate, Kind, STORE, Threads};
use crate::gate::machine::{counted, cpu, cpu_of_ended};
use crate::gate::setting::{self, Ports};

/// One nginx, and what stands beside it.
pub(crate) struct Lane {
    pub(crate) name: String,
    /// Where calls go, with the key in it.
    pub(crate) path: String,
    pub(crate) nginx: Nginx,
    pub(crate) gate: Option<Gate>,
    /// Where a full gate tells what it has counted.
    admin: Option<u16>,
    pub(crate) folder: TempDir,
    /// Where its log of usage is, in memory.
    _usage: TempDir,
    rotated: Cell<usize>,
}

/// CPU time of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) nginx: Duration,
    pub(crate) gate: Duration,
    pub(crate) node: Duration,
    pub(crate) wrk: Duration,
}

pub(crate) struct Lanes {
    pub(crate) all: Vec<Lane>,
    pub(crate) nginx_version: String,
    node: Nginx,
    _node_folder: TempDir,
    redis: Option<Redis>,
}

impl Lanes {
    /// Starts a lane for each way: without a gate, or with one of a kind on its threads.
    pub(crate) fn start(ways: &[Option<(Kind, Threads)>]) -> anyhow::Result<Self> {
        wrk::find()?;
        let program = Program::find(ProxyKind::Nginx)?;
        let node_folder = tempfile::tempdir()?;
        let node = Nginx::stub(&program, node_folder.path())?;
        let is_shared = ways.iter().flatten().any(|(kind, _)| *kind == Kind::Shared);
        let redis = is_shared.then(Redis::start).transpose()?;
        let port = redis.as_ref().map(|redis| redis.port);
        let start = |way: &_| Lane::start(&program, *way, node.port, port);
        let all = ways.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { all, nginx_version: format!("nginx {}", program.version), node, _node_folder: node_folder, redis })
    }

    /// All processes of it.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids = vec![self.node.worker()?];
        pids.extend(self.redis.iter().map(Redis::pid));
        for lane in &self.all {
            pids.push(lane.nginx.worker()?);
            pids.extend(lane.gate.iter().map(Gate::pid));
        }
        Ok(pids)
    }

    /// Errs unless every full gate did all of its work: lines of the log were counted, and each could be read.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for admin in self.all.iter().filter_map(|lane| lane.admin) {
            let count = |name| runtime()?.block_on(counted(admin, name, ""));
            let (lines, bad) = (count("log_lines_total")?, count("log_bad_lines_total")?);
            anyhow::ensure!(lines > 0 && bad == 0, "{lines} lines of usage were counted, and {bad} could not be read");
        }
        Ok(())
    }

    /// Requests of a lane whose rate its gate counted by itself, Redis being away or late.
    pub(crate) fn local(lane: &Lane) -> anyhow::Result<u64> {
        let Some(admin) = lane.admin else { return Ok(0) };
        runtime()?.block_on(counted(admin, "limits_local_total", ""))
    }

    /// Loads one lane with `wrk`.
    pub(crate) fn load(
        &self,
        lane: &Lane,
        body: &str,
        connections: u32,
        time: Duration,
    ) -> anyhow::Result<(Run, Cost)> {
        lane.put_log_away()?;
        let spent = || -> anyhow::Result<[Duration; 4]> {
            let gate = lane.gate.as_ref().map_or(Ok(Duration::ZERO), |gate| cpu(gate.pid()))?;
            Ok([cpu(lane.nginx.worker()?)?, gate, cpu(self.node.worker()?)?, cpu_of_ended()?])
        };
        let before = spent()?;
        let url = format!("http://127.0.0.1:{}{}", lane.nginx.port, lane.path);
        let run = wrk::run(lane.folder.path(), &url, body, connections, time)?;
        let after = spent()?;
        let requests = u32::try_from(run.requests)?;
        let [nginx, gate, node, wrk] = [0, 1, 2, 3].map(|of| after[of].saturating_sub(before[of]) / requests);
        Ok((run, Cost { nginx, gate, node, wrk }))
    }
}

impl Lane {
    fn start(program: &Program, way: Option<(Kind, Threads)>, node: u16, redis: Option<u16>) -> anyhow::Result<Self> {
        let (folder, usage) = (tempfile::tempdir()?, in_memory()?);
        symlink(usage.path(), folder.path().join("usage"))?;
        std::fs::create_dir(folder.path().join("sock"))?;
        let redis = redis.filter(|_| matches!(way, Some((Kind::Shared, _))));
        let ports = Ports { proxy: free_port()?, admin: free_port()?, redis };
        let text = setting::config(way.is_some(), ports);
        std::fs::write(folder.path().join(CONFIG), &text)?;
        let store = folder.path().join(STORE);
        let secrets = runtime()?.block_on(setting::store_with(&store, 1))?.1;
        let gate = way.map(|(kind, threads)| Gate::start(kind, threads, folder.path())).transpose()?;
        let nginx = Nginx::proxy(program, folder.path(), &setting::read_config(&text)?, node)?;
        let name = match way {
            None => "gate off".to_owned(),
            Some((Kind::Nothing, threads)) => format!("does nothing, {}", named(threads)),
            Some((Kind::Full, threads)) => format!("full, {}", named(threads)),
            Some((Kind::Shared, threads)) => format!("Redis, {}", named(threads)),
        };
        let path = format!("/v3/{}", secrets[0].reveal());
        let admin = matches!(way, Some((Kind::Full | Kind::Shared, _))).then_some(ports.admin);
        Ok(Self { name, path, nginx, gate, admin, folder, _usage: usage, rotated: Cell::new(0) })
    }

    /// A full gate counts and deletes what was put away.
    fn put_log_away(&self) -> anyhow::Result<()> {
        let number = self.rotated.get() + 1;
        self.rotated.set(number);
        self.nginx.rotate(number)
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn named(threads: Threads) -> &'static str {
    match threads {
        Threads::One => "one thread",
        Threads::Many => "many threads",
    }
}

fn in_memory() -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}
