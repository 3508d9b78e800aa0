//! A leader, three own nodes and Nodeweir, each on a machine of its own, and clients on another.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::revision::Revision;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::between::Between;
use crate::ground::{Ground, Machine};
use crate::load::Load;
use crate::nodes::Anvil;
use crate::process::{Owned, free_port, sibling, until};
use crate::rig::{NODEWEIR, PROBE, Rig, TIMES};
use crate::table::Row;

/// The own nodes.
pub(crate) const ALL: [&str; 3] = ["a", "b", "c"];
/// Answers in a row that show that nothing else runs any more: old and new workers of nginx overlap for a moment.
const STEADY: usize = 8;

/// A node and its machine.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) anvil: Anvil,
}

impl Node {
    /// Starts it again after it was killed.
    pub(crate) fn revive(&mut self) {
        let anvil = &mut self.anvil;
        self.machine.inside(|| runtime().block_on(anvil.revive()));
    }
}

/// On which machines Nodeweir runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `nodeweir up` does everything on one.
    Together,
    /// `nodeweir up --no-proxy` on one, `nodeweir-proxy` on another; they share a folder.
    Apart,
}

pub(crate) struct World {
    pub(crate) kind: ProxyKind,
    pub(crate) load: Load,
    pub(crate) rows: Vec<Row>,
    // Dropped in this order: who would start others again comes first, the machines last.
    follower: Option<Owned>,
    pub(crate) rig: Rig,
    /// Where nodes are judged.
    pub(crate) control: Machine,
    /// Where clients call: the same machine, or another.
    pub(crate) proxy: Machine,
    pub(crate) leader: Node,
    pub(crate) a: Node,
    pub(crate) b: Node,
    /// Everybody reaches this one through [`World::between`].
    pub(crate) c: Node,
    pub(crate) between: Between,
    _ground: Ground,
}

impl World {
    /// Everything serves, and clients call. This is called on a machine of `ground`, the clients'.
    pub(crate) async fn start(ground: Ground, kind: ProxyKind, layout: Layout) -> Self {
        let control = ground.machine(2);
        let proxy = if layout == Layout::Apart { ground.machine(3) } else { control.clone() };
        let [leader, a, b, c] = nodes([10, 11, 12, 13].map(|host| ground.machine(host)));
        let between = Between::start(&c.machine, SocketAddr::new(c.machine.ip.into(), c.anvil.port));

        let admin = free_port();
        let gate = match kind {
            ProxyKind::Nginx => format!("{{admin: '127.0.0.1:{admin}'}}"),
            ProxyKind::Haproxy => "{enabled: false}".to_owned(),
        };
        let rig = Rig::with_gate(kind, &[("ethereum", &leader.anvil)], &gate);
        rig.configure("listen: 127.0.0.1", &format!("listen: {}", proxy.ip));
        // What people have unless they say otherwise, but for the times between two looks.
        rig.configure(TIMES, "{}");
        rig.configure(PROBE, "timeout: 2s");
        for (name, url) in [("a", &a.anvil.url()), ("b", &b.anvil.url()), ("c", &between.url)] {
            rig.run(&["node", "add", "ethereum", name, url]).await.exits(0);
        }
        let key = if kind == ProxyKind::Nginx { format!("/{}", key(&rig).await) } else { String::new() };
        let address = SocketAddr::new(proxy.ip.into(), rig.port);
        let (load, rows, follower) = (Load::start(address, format!("/v3{key}")), Vec::new(), None);
        let mut world =
            Self { kind, load, rows, follower, rig, control, proxy, leader, a, b, c, between, _ground: ground };
        world.up();
        if layout == Layout::Apart {
            world.follow();
        }
        world.until_it_runs(&ALL).await;
        world.rig.until_all_is_well(ALL).await;
        world.load.until_answered().await;
        world
    }

    /// Ends the calls, and looks whether the books are right: nothing is lost or counted twice, whatever was killed.
    pub(crate) async fn finish(self) -> Vec<Row> {
        let calls = self.load.end().await;
        if self.kind == ProxyKind::Nginx {
            let done = self.rig.run(&["project", "show", "shop", "--json"]).await.exits(0).json();
            let credits = |name: &str| done["month"][name].as_u64().unwrap_or_else(|| panic!("{name}: {done}"));
            let parts = ["spent", "written_off", "leased", "left"].map(credits);
            assert_eq!(parts.iter().sum::<u64>(), credits("granted"), "{done}");
            assert!(credits("spent") > 0 && credits("spent") <= calls, "of {calls} calls: {done}");
        }
        self.rows
    }

    fn is_apart(&self) -> bool {
        self.control.ip != self.proxy.ip
    }

    /// Starts `nodeweir up` where it belongs.
    pub(crate) fn up(&mut self) {
        let words: &[&str] = if self.is_apart() { &["up", "--no-proxy"] } else { &["up"] };
        let rig = &mut self.rig;
        self.control.inside(|| rig.up_by(words));
    }

    /// Starts `nodeweir-proxy` where it belongs.
    pub(crate) fn follow(&mut self) {
        let (place, state) = (self.rig.place.path(), self.rig.state(""));
        let said = File::options().create(true).append(true).open(place.join("proxy.out")).unwrap();
        let mut command = Command::new(sibling(NODEWEIR, "nodeweir-proxy"));
        command
            .env("NODEWEIR_CONFIG", place.join("config.yml"))
            .env("NODEWEIR_FOLDER", state.join("published"))
            .env("NODEWEIR_STATE", &state)
            .env("NODEWEIR_LOOK", "1s")
            .stdin(Stdio::null())
            .stderr(said.try_clone().unwrap())
            .stdout(said);
        self.follower = Some(Owned(self.proxy.inside(|| command.spawn()).unwrap()));
    }

    /// `kill -9` of `nodeweir-proxy`.
    pub(crate) fn kill_follower(&mut self) {
        self.follower.take().expect("it runs").kill();
    }

    /// The own nodes that serve, or the leader, in the published revision, and its name.
    pub(crate) fn published(&self) -> Option<(Vec<String>, String)> {
        let revision = Revision::parse(&self.rig.published()).ok()?;
        let (_, roster) = revision.rosters.iter().find(|(network, _)| network.as_str() == "ethereum")?;
        Some((roster.members.iter().map(|member| member.name.to_string()).collect(), revision.name()))
    }

    /// Waits until exactly these serve by what is published, and that runs, and nothing else.
    pub(crate) async fn until_it_runs(&self, names: &[&str]) {
        until(&format!("{} serve", names.join(", ")), async || {
            let (serving, name) = self.published().filter(|(serving, _)| serving == names)?;
            for _ in 0..STEADY {
                if self.running().await.ok()? != name {
                    return None;
                }
            }
            Some(serving)
        })
        .await;
    }

    /// The revision that the proxy says it runs.
    async fn running(&self) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.rig.state("proxy/sock/admin.sock")).await?;
        stream.write_all(b"GET /revision HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.lines().last().unwrap_or_default().to_owned())
    }

    /// The gate's process.
    pub(crate) fn gate(&self) -> Option<i32> {
        fs::read_to_string(self.rig.state("gate.lock")).ok()?.trim().parse().ok()
    }

    /// The proxy's workers: children of its master, the newest last.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let Some(master) = self.rig.proxy.master() else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// A node on each of these machines, started side by side.
fn nodes<const N: usize>(machines: [Machine; N]) -> [Node; N] {
    thread::scope(|scope| {
        let start = |machine: Machine| {
            scope.spawn(move || {
                let anvil = machine.inside(|| runtime().block_on(Anvil::start_on(machine.ip)));
                Node { machine, anvil }
            })
        };
        machines.map(start).map(|starting| starting.join().unwrap_or_else(|why| resume_unwind(why)))
    })
}

/// Makes a project that may call as fast as these clients do, and a key.
async fn key(rig: &Rig) -> String {
    rig.run(&["project", "create", "shop", "--tier", "professional"]).await.exits(0);
    let made = rig.run(&["key", "create", "shop", "--name", "web", "--json"]).await.exits(0).json();
    made["secret"].as_str().expect("the key").to_owned()
}

/// For a thread that has none.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
