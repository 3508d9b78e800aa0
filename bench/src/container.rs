//! The container's process: how soon it is ready, how soon what is published is served, what it needs when idle. S3 is an
//! emulator that answers late; nginx is the real one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::list;
use nodeweir_domain::fleet::plan::{World, plan};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_emulator::{Client, Fault, Moto, On, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::machine::{children, resident_mib, share_mib};
use crate::nodes::{Counts, Nodes};
use crate::sample::{NETWORKS, median, ms, network};

const STARTS: usize = 21;
const FOLLOWED: usize = 21;
/// How late S3 answers.
const LATE: Duration = Duration::from_millis(50);
/// Between two looks of a measurement.
const LOOK: Duration = Duration::from_millis(2);
/// Nothing takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(10);
const BUCKET: &str = "nodeweir-bench";

/// Runs all of it and tells, as tables.
pub(crate) async fn measure() -> anyhow::Result<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/nodeweir-proxy");
    ensure!(
        program.is_file(),
        "{} is not there: build it with `cargo build --release --locked -p nodeweir-container`",
        program.display()
    );
    let nodes = Nodes::start(Counts { answering: NETWORKS, silent: 0 })?;
    let bench = Bench::make(program, nodes).await?;
    let mut table = bench.starts().await?;
    table += &bench.follows().await?;
    table += &bench.idle().await?;
    Ok(table)
}

struct Bench {
    program: PathBuf,
    nodes: Nodes,
    port: u16,
    admin: u16,
    aws: Proxy,
    client: Client,
    // Ends with this.
    _moto: Moto,
}

/// Where what is published is.
#[derive(Clone, Copy)]
enum From {
    Bucket,
    Folder,
}

impl Bench {
    async fn make(program: PathBuf, nodes: Nodes) -> anyhow::Result<Self> {
        let moto = Moto::start();
        let aws = Proxy::start(&moto);
        let client = aws.client();
        let place = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
        let made = client.send("s3", "PUT", &format!("/{BUCKET}"), &[], place).await?;
        ensure!(made.status == 200, "{}", made.text());
        aws.fault(On::service("s3").by("task"), Fault::Late(LATE));
        Ok(Self { program, nodes, port: free_port().await?, admin: free_port().await?, aws, client, _moto: moto })
    }

    /// Twenty networks, each served by a leader of this name.
    fn config(&self, name: &str, gate: &Value) -> String {
        let network_of = |index: usize| {
            let url = format!("http://127.0.0.1:{}", self.nodes.ports[index]);
            let leader = json!({"name": name, "url": url});
            (network(index), json!({"chain_id": 1, "block_time": "12s", "leader": leader}))
        };
        json!({
            "default_network": network(0),
            "networks": (0..NETWORKS).map(network_of).collect::<Map<_, _>>(),
            "proxy": {"listen": format!("127.0.0.1:{}", self.port), "timeouts": {"shutdown": "1s"}},
            "gate": gate,
        })
        .to_string()
    }

    async fn publish(&self, seq: u64, name: &str) -> anyhow::Result<()> {
        let config = Config::read(&self.config(name, &json!({"enabled": false})))?;
        let (listed, health, at) = (list(&[], &config), BTreeMap::new(), Timestamp::now());
        let (published, pin) = (None, None);
        let world =
            World { config: &config, listed: &listed, health: &health, published, is_intact: false, pin, now: at };
        let plan = plan(world);
        let (rosters, body, reason) = (plan.rosters, plan.body, "a measurement".to_owned());
        let text = Revision { seq, proxy: config.proxy.kind, at, reason, rosters, body }.compose();
        let put = self.client.send("s3", "PUT", &format!("/{BUCKET}/revision.conf"), &[], text).await?;
        ensure!(put.status == 200, "{}", put.text());
        Ok(())
    }

    fn start(&self, from: From) -> anyhow::Result<Container> {
        let place = tempfile::tempdir()?;
        // Process 1 of a namespace, as in a container.
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(&self.program);
        let gate = match from {
            From::Bucket => {
                command.env("NODEWEIR_BUCKET", BUCKET).env("AWS_ENDPOINT_URL", self.aws.url());
                command.env("AWS_REGION", "eu-central-1");
                command.env("AWS_ACCESS_KEY_ID", "task").env("AWS_SECRET_ACCESS_KEY", "nothing");
                json!({"enabled": false})
            }
            From::Folder => {
                command.env("NODEWEIR_FOLDER", place.path().join("published"));
                json!({"admin": format!("127.0.0.1:{}", self.admin)})
            }
        };
        command.env("NODEWEIR_CONFIG_TEXT", self.config("leader", &gate)).env("NODEWEIR_STATE", place.path());
        let said = File::create(place.path().join("said"))?;
        command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
        Ok(Container { child: command.spawn()?, port: self.port, place })
    }

    async fn starts(&self) -> anyhow::Result<String> {
        self.publish(1, "published").await?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let begun = Instant::now();
            let mut container = self.start(From::Bucket)?;
            container.until_ready().await?;
            times.push(begun.elapsed());
            ensure!(container.endpoint().await.as_deref() == Some("published"), "it serves something else");
            container.stop()?;
        }
        let (middle, longest) = (median(&times), times.iter().max().copied().unwrap_or_default());
        ensure!(middle < Duration::from_secs(1), "a start takes {middle:?}");
        Ok(format!(
            "start to ready by what is published, S3 {} ms late, {STARTS} times: median {:.0} ms, longest {:.0} ms\n",
            LATE.as_millis(),
            ms(middle),
            ms(longest)
        ))
    }

    /// Each is published when the one before has just been seen, so that it waits for as long as it can.
    async fn follows(&self) -> anyhow::Result<String> {
        let mut container = self.start(From::Bucket)?;
        container.until_served_by("published").await?;
        let mut times = Vec::new();
        for turn in 0..FOLLOWED {
            let name = ["one", "other"][turn % 2];
            self.publish(u64::try_from(turn)? + 2, name).await?;
            let begun = Instant::now();
            container.until_served_by(name).await?;
            times.push(begun.elapsed());
        }
        container.stop()?;
        let (middle, longest) = (median(&times), times.iter().max().copied().unwrap_or_default());
        ensure!(longest < Duration::from_secs(5), "a new object takes {longest:?}");
        Ok(format!(
            "new object to served, published right after a look, {FOLLOWED} times: median {:.2} s, longest {:.2} s\n",
            middle.as_secs_f64(),
            longest.as_secs_f64()
        ))
    }

    async fn idle(&self) -> anyhow::Result<String> {
        let mut table = format!(
            "resident when idle for {} s, MiB; in brackets the share, where what several have counts once\n",
            IDLE.as_secs()
        );
        for (from, name) in [(From::Bucket, "S3, gate off"), (From::Folder, "folder, gate on")] {
            let mut container = self.start(from)?;
            container.until_ready().await?;
            // No condition tells when nothing happens any more.
            sleep(IDLE).await;
            let init = container.init()?;
            let worker = *children(init)?.first().context("process 1 has no child")?;
            let mut processes = vec![("process 1", init), ("supervisor", worker)];
            for child in children(worker)? {
                if fs::read(format!("/proc/{child}/cmdline"))?.ends_with(b"nodeweir-proxy\0gate\0") {
                    processes.push(("gate", child));
                }
            }
            let mut sum = 0.0;
            write!(table, "  {name:<14}")?;
            for (process, pid) in processes {
                let (resident, share) = (resident_mib(pid)?, share_mib(pid)?);
                write!(table, " {process} {resident:.1} ({share:.1}),")?;
                sum += share;
            }
            writeln!(table, " together ({sum:.1})")?;
            ensure!(sum * 1.048_576 < 20.0, "they take 20 MB or more:\n{table}");
            container.stop()?;
        }
        Ok(table)
    }
}

struct Container {
    child: Child,
    port: u16,
    place: TempDir,
}

impl Container {
    async fn until(&self, mut is: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !is().await {
            if begun.elapsed() > PATIENCE {
                bail!("not in time; it says: {}", fs::read_to_string(self.place.path().join("said"))?);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn until_ready(&self) -> anyhow::Result<()> {
        let look = async || self.answer("GET /readyz", "").await;
        self.until(async || look().await.is_some_and(|said| said.starts_with("HTTP/1.1 200"))).await
    }

    /// Until this leader answers.
    async fn until_served_by(&self, name: &str) -> anyhow::Result<()> {
        self.until(async || self.endpoint().await.as_deref() == Some(name)).await
    }

    /// Who answers a call.
    async fn endpoint(&self) -> Option<String> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;
        let said = self.answer(&format!("POST /{}/v3", network(0)), body).await?;
        let head = said.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("x-rpc-endpoint: ").map(str::to_owned))
    }

    async fn answer(&self, what: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let head = format!(
            "{what} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await.ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await.ok()?;
        Some(said)
    }

    fn init(&self) -> anyhow::Result<u32> {
        children(self.child.id())?.first().copied().context("there is no process 1")
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let init = Pid::from_raw(self.init()?.cast_signed()).context("process 1 has a number")?;
        kill_process(init, Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}: {}", fs::read_to_string(self.place.path().join("said"))?);
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The namespace ends with it, and all that is in it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

async fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}
