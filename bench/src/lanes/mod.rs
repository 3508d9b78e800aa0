//! Ways to a node that stand side by side, of which one at a time is loaded.

mod nginx;
pub(crate) mod paced;
mod redis;
mod rendered;
mod shape;
mod wrk;

use std::sync::Arc;
use std::time::Duration;

use nodeweir_control::proxy::Program;
use nodeweir_domain::config::ProxyKind;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub(crate) use nginx::free_port;
pub(crate) use shape::{Fleet, Shape};

use crate::gate::child::{CONFIG, Gate, Kind, STORE, Threads};
use crate::gate::setting::{self, Ports};
use crate::machine::{children, counted, cpu, cpu_of_ended, share_mib, worker};
use nginx::Nginx;
use redis::Redis;
use rendered::Rendered;
pub(crate) use wrk::Run;

/// What stands between a client and the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// nginx that does nothing but pass requests on: the limit.
    Plain,
    /// Nodeweir's nginx, with the gate switched off.
    Off,
    /// Nodeweir's nginx with a gate.
    Gate(Kind, Threads),
    /// Nodeweir's HAProxy, which has no gate.
    Haproxy,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain nginx",
            Self::Off => "gate off",
            Self::Gate(Kind::Nothing, Threads::One) => "does nothing, one thread",
            Self::Gate(Kind::Nothing, Threads::Many) => "does nothing, many threads",
            Self::Gate(Kind::Full, Threads::One) => "full, one thread",
            Self::Gate(Kind::Full, Threads::Many) => "full, many threads",
            Self::Gate(Kind::Shared, Threads::One) => "Redis, one thread",
            Self::Gate(Kind::Shared, Threads::Many) => "Redis, many threads",
            Self::Haproxy => "HAProxy",
        }
    }

    pub(crate) fn kind(self) -> ProxyKind {
        if self == Self::Haproxy { ProxyKind::Haproxy } else { ProxyKind::Nginx }
    }

    fn gate(self) -> Option<(Kind, Threads)> {
        if let Self::Gate(kind, threads) = self { Some((kind, threads)) } else { None }
    }
}

enum Proxy {
    Plain(Nginx),
    Rendered(Box<Rendered>),
}

/// One proxy, and what stands beside it.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    /// Where calls go, with the key in it: one for each network and key.
    pub(crate) paths: Vec<String>,
    pub(crate) port: u16,
    /// Bytes of what was rendered.
    pub(crate) bytes: usize,
    way: Way,
    proxy: Proxy,
    pub(crate) gate: Option<Gate>,
    /// Where a full gate tells what it has counted.
    admin: Option<u16>,
    pub(crate) folder: TempDir,
}

/// CPU time of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) proxy: Duration,
    pub(crate) gate: Duration,
    /// The Redis that counts rates, if it does.
    pub(crate) redis: Duration,
    pub(crate) node: Duration,
    pub(crate) wrk: Duration,
}

impl Cost {
    /// What serves, without the node and who asks.
    pub(crate) fn serving(&self) -> Duration {
        self.proxy + self.gate + self.redis
    }
}

/// What came of one load of each lane, in their order.
pub(crate) type Runs = Vec<(Run, Cost)>;

/// Memory, in MiB; what several processes share is divided among them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) proxy: f64,
    pub(crate) gate: f64,
}

pub(crate) struct Lanes {
    pub(crate) all: Vec<Lane>,
    /// Names and versions of what stands in them.
    pub(crate) programs: String,
    node: Nginx,
    _node_folder: TempDir,
    redis: Option<Redis>,
}

/// What all lanes have in common.
struct Common {
    runtime: Arc<Runtime>,
    nginx: Program,
    haproxy: Option<Program>,
    shape: Shape,
    /// Ports.
    node: u16,
    redis: Option<u16>,
}

impl Lanes {
    /// Starts a lane for each way, in front of a fleet of this shape.
    pub(crate) fn start(ways: &[Way], shape: Shape) -> anyhow::Result<Self> {
        wrk::find()?;
        let nginx = Program::find(ProxyKind::Nginx)?;
        let haproxy = ways.contains(&Way::Haproxy).then(|| Program::find(ProxyKind::Haproxy)).transpose()?;
        let node_folder = tempfile::tempdir()?;
        let node = Nginx::node(&nginx, node_folder.path())?;
        let is_shared = ways.iter().filter_map(|way| way.gate()).any(|(kind, _)| kind == Kind::Shared);
        let redis = is_shared.then(Redis::start).transpose()?;
        let mut programs = format!("nginx {}", nginx.version);
        programs += &haproxy.as_ref().map_or_else(String::new, |program| format!(", HAProxy {}", program.version));
        // What a supervisor starts is waited for by a thread of its own.
        let runtime = Arc::new(Builder::new_multi_thread().worker_threads(1).enable_all().build()?);
        let port = redis.as_ref().map(|redis| redis.port);
        let common = Common { runtime, nginx, haproxy, shape, node: node.port, redis: port };
        let all = ways.iter().map(|way| Lane::start(*way, &common)).collect::<Result<_, _>>()?;
        Ok(Self { all, programs, node, _node_folder: node_folder, redis })
    }

    /// All processes of it that work.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids = vec![worker(self.node.pid())?];
        pids.extend(self.redis.iter().map(Redis::pid));
        for lane in &self.all {
            pids.push(lane.worker()?);
            pids.extend(lane.gate.iter().map(Gate::pid));
        }
        Ok(pids)
    }

    /// Errs unless every full gate did all of its work: lines of the log were counted, and each could be read.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for admin in self.all.iter().filter_map(|lane| lane.admin) {
            let count = |name| single_threaded()?.block_on(counted(admin, name, ""));
            let (lines, bad) = (count("log_lines_total")?, count("log_bad_lines_total")?);
            anyhow::ensure!(lines > 0 && bad == 0, "{lines} lines of usage were counted, and {bad} could not be read");
        }
        Ok(())
    }

    /// Loads one lane with `wrk`.
    pub(crate) fn load(
        &self,
        lane: &Lane,
        body: &str,
        connections: u32,
        time: Duration,
    ) -> anyhow::Result<(Run, Cost)> {
        lane.upkeep()?;
        let spent = || -> anyhow::Result<[Duration; 5]> {
            let gate = lane.gate.as_ref().map_or(Ok(Duration::ZERO), |gate| cpu(gate.pid()))?;
            let redis = self.redis.as_ref().filter(|_| matches!(lane.way, Way::Gate(Kind::Shared, _)));
            let redis = redis.map_or(Ok(Duration::ZERO), |redis| cpu(redis.pid()))?;
            Ok([cpu(lane.worker()?)?, gate, redis, cpu(worker(self.node.pid())?)?, cpu_of_ended()?])
        };
        let before = spent()?;
        let run = wrk::run(lane.folder.path(), lane.port, &lane.paths, body, connections, time)?;
        let after = spent()?;
        let requests = u32::try_from(run.requests)?;
        let of = |index: usize| after[index].saturating_sub(before[index]) / requests;
        Ok((run, Cost { proxy: of(0), gate: of(1), redis: of(2), node: of(3), wrk: of(4) }))
    }
}

impl Lane {
    fn start(way: Way, common: &Common) -> anyhow::Result<Self> {
        let Common { runtime, nginx, haproxy, shape, node, redis } = common;
        let folder = tempfile::tempdir()?;
        let networks = (0..shape.networks).map(setting::network);
        if way == Way::Plain {
            let proxy = Nginx::plain(nginx, folder.path(), *node)?;
            let (port, paths) = (proxy.port, networks.map(|network| format!("/{network}/v3")).collect());
            let proxy = Proxy::Plain(proxy);
            return Ok(Self { name: way.name(), paths, port, bytes: 0, way, proxy, gate: None, admin: None, folder });
        }
        let program = haproxy.as_ref().filter(|_| way == Way::Haproxy).unwrap_or(nginx);
        let redis = redis.filter(|_| matches!(way, Way::Gate(Kind::Shared, _)));
        let ports = Ports { proxy: free_port()?, admin: free_port()?, redis };
        let text = setting::config_of(way.kind(), way.gate().is_some(), ports, shape.networks, *node);
        std::fs::write(folder.path().join(CONFIG), &text)?;
        let secrets = runtime.block_on(setting::store_with(&folder.path().join(STORE), shape.keys))?.1;
        std::fs::create_dir(folder.path().join("sock"))?;
        let gate = way.gate().map(|(kind, threads)| Gate::start(kind, threads, folder.path())).transpose()?;
        let config = setting::read_config(&text)?;
        let body = Fleet::new(*shape, &config, *node)?.plan()?.body;
        let proxy = Rendered::start(runtime, program, folder.path(), &config, &body)?;
        let (port, bytes) = (proxy.port, body.len());
        let paths =
            networks.flat_map(|network| secrets.iter().map(move |secret| format!("/{network}/v3/{}", secret.reveal())));
        let paths = paths.collect();
        let admin = matches!(way, Way::Gate(Kind::Full | Kind::Shared, _)).then_some(ports.admin);
        Ok(Self {
            name: way.name(),
            paths,
            port,
            bytes,
            way,
            proxy: Proxy::Rendered(Box::new(proxy)),
            gate,
            admin,
            folder,
        })
    }

    /// The process that serves.
    pub(crate) fn worker(&self) -> anyhow::Result<u32> {
        worker(self.master()?)
    }

    fn master(&self) -> anyhow::Result<u32> {
        match &self.proxy {
            Proxy::Plain(nginx) => Ok(nginx.pid()),
            Proxy::Rendered(proxy) => proxy.pid(),
        }
    }

    /// Of the proxy's master and workers, and of the gate.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let master = self.master()?;
        let mut proxy = share_mib(master)?;
        for worker in children(master)? {
            proxy += share_mib(worker)?;
        }
        let gate = self.gate.as_ref().map_or(Ok(0.0), |gate| share_mib(gate.pid()))?;
        Ok(Memory { proxy, gate })
    }

    /// Loads the same as another revision, and says how long that took; a plain proxy has none.
    pub(crate) fn reload(&self, name: &str) -> anyhow::Result<Duration> {
        let Proxy::Rendered(proxy) = &self.proxy else { return Ok(Duration::ZERO) };
        let took = proxy.apply(name)?;
        let begun = std::time::Instant::now();
        while self.worker().is_err() {
            anyhow::ensure!(begun.elapsed() < nginx::PATIENCE, "the worker of the revision before does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(took)
    }

    /// Requests whose rate its gate counted by itself, Redis being away or late.
    pub(crate) fn counted_locally(&self) -> anyhow::Result<u64> {
        let Some(admin) = self.admin else { return Ok(0) };
        single_threaded()?.block_on(counted(admin, "limits_local_total", ""))
    }

    fn upkeep(&self) -> anyhow::Result<()> {
        if let Proxy::Rendered(proxy) = &self.proxy { proxy.upkeep() } else { Ok(()) }
    }
}

fn single_threaded() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
