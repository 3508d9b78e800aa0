//! What gates that share one store ask of it: calls and units of an emulated DynamoDB, by operation and minute.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use nodeweir_aws::{DynamoStore, Tables, connect};
use nodeweir_domain::config::Config;
use nodeweir_emulator::{Call, Client, Moto, Proxy};
use nodeweir_sidecar::{Ages, Settings};
use nodeweir_store::{GateStore as _, Written};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::setting::{self, NETWORK, Ports};

const PROJECTS: usize = 100;
/// Of each gate.
const PER_SECOND: u64 = 1000;
const CONNECTIONS: u64 = 4;
const METHODS: [&str; 5] = ["eth_call", "eth_blockNumber", "eth_getBalance", "eth_getLogs", "eth_chainId"];
/// Until what happens once a minute has happened.
const WARM_UP: Duration = Duration::from_secs(75);
const MEASURED: Duration = Duration::from_secs(120);

/// Measures one gate, and then three that share all projects.
pub(super) fn measure() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        for gates in [1, 3] {
            measure_gates(gates).await?;
        }
        Ok(())
    })
}

async fn measure_gates(count: usize) -> anyhow::Result<()> {
    let moto = Moto::start();
    let first = Proxy::start(&moto);
    let tables = Tables { gate: "gate".to_owned(), usage: "usage".to_owned(), ..Tables::default() };
    create(&first.client(), &tables.gate, ["kind", "id"], "lapsing", ["lapsing", "lapses"]).await?;
    create(&first.client(), &tables.usage, ["project", "row"], "minutes", ["minutes", "row"]).await?;
    let store = store(&first, &tables).await;
    let mut keys = Vec::new();
    for index in 0..PROJECTS {
        let project = setting::project(index)?;
        ensure!(store.put_project(None, &project).await? == Written::Done);
        let secret = setting::secret(index)?;
        ensure!(store.put_key(None, &setting::key(&secret, index, &project)?).await? == Written::Done);
        keys.push((project.id.to_string(), secret.reveal().to_owned()));
    }
    let keys = Arc::new(keys);
    let counts = Arc::new(Counts::default());
    let mut gates = Vec::new();
    for index in 0..count {
        let aws = Proxy::of_account(&moto, first.account());
        gates.push(Gate::start(index, aws, &tables, &keys, &counts).await?);
    }
    sleep(WARM_UP).await;
    for gate in &gates {
        gate.aws.forget();
    }
    let (before, began) = (counts.passed.load(Ordering::Relaxed), Instant::now());
    sleep(MEASURED).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let each: Vec<Vec<Call>> = gates.iter().map(|gate| gate.aws.calls()).collect();
    let rate = (counts.passed.load(Ordering::Relaxed) - before) as f64 / minutes / 60.0 / count as f64;
    for gate in gates {
        gate.stop().await?;
    }
    println!(
        "{count} gates, {PROJECTS} projects, {rate:.0} requests per second each, {} refused in all; of one gate in a minute, on \
         average\n  {:<24}{:>10}{:>14}{:>14}",
        counts.refused.load(Ordering::Relaxed),
        "operation",
        "calls",
        "write units",
        "read units"
    );
    let mut sums: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for call in each.iter().flatten() {
        let (write, read) = units(call);
        for operation in [call.operation.as_str(), "~ all"] {
            let sum = sums.entry(operation).or_default();
            for (sum, more) in sum.iter_mut().zip([1.0, write, read]) {
                *sum += more / minutes / count as f64;
            }
        }
    }
    for (operation, [calls, write, read]) in sums {
        println!("  {operation:<24}{calls:>10.1}{write:>14.1}{read:>14.1}");
    }
    Ok(())
}

/// What came of all requests.
#[derive(Debug, Default)]
struct Counts {
    passed: AtomicU64,
    refused: AtomicU64,
}

/// A gate in this process, and clients of it; nginx's part is played by whoever writes its log.
struct Gate {
    aws: Proxy,
    stop: watch::Sender<bool>,
    running: JoinHandle<anyhow::Result<()>>,
    clients: JoinSet<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Gate {
    async fn start(
        index: usize,
        aws: Proxy,
        tables: &Tables,
        keys: &Arc<Vec<(String, String)>>,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (socket, log) = (folder.path().join("gate.sock"), folder.path().join("usage"));
        std::fs::create_dir(&log)?;
        let settings = Settings {
            config: Arc::new(config()?),
            socket: socket.clone(),
            log: log.clone(),
            sidecar: format!("gate-{index}").parse()?,
            log_name: format!("log-{index}").parse()?,
            ages: Ages::SPARING,
            is_shared: true,
            patience: nodeweir_sidecar::PATIENCE,
            value: |_| None,
        };
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(nodeweir_sidecar::run(settings, store(&aws, tables).await, stopping));
        while UnixStream::connect(&socket).await.is_err() {
            ensure!(!running.is_finished(), "the gate has ended: {:?}", running.await?);
            sleep(Duration::from_millis(20)).await;
        }
        let mut clients = JoinSet::new();
        for client in 0..CONNECTIONS {
            let (socket, log) = (socket.clone(), log.join("requests.log"));
            clients.spawn(call(socket, log, Arc::clone(keys), Arc::clone(counts), client));
        }
        Ok(Self { aws, stop, running, clients, _folder: folder })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.clients.abort_all();
        while let Some(ended) = self.clients.join_next().await {
            if let Ok(ended) = ended {
                ended?;
            }
        }
        let _ = self.stop.send(true);
        self.running.await?
    }
}

async fn store(aws: &Proxy, tables: &Tables) -> DynamoStore {
    let sdk = connect(Some("eu-central-1")).await.into_builder().endpoint_url(aws.url());
    let credentials = Credentials::new("bench", "secret", None, None, "the measurement");
    let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
    DynamoStore::new(&sdk, tables.clone())
}

fn config() -> anyhow::Result<Config> {
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    setting::read_config(&setting::config(true, Ports { proxy: admin.wrapping_add(1), admin, redis: None }))
}

async fn create(client: &Client, table: &str, keys: [&str; 2], index: &str, of_index: [&str; 2]) -> anyhow::Result<()> {
    let schema = |[hash, range]: [&str; 2]| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let mut names = [keys, of_index].concat();
    names.sort_unstable();
    names.dedup();
    let attributes: Vec<_> = names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
    let body = json!({
        "TableName": table, "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema(keys), "AttributeDefinitions": attributes,
        "GlobalSecondaryIndexes": [{"IndexName": index, "KeySchema": schema(of_index), "Projection": {"ProjectionType": "KEYS_ONLY"}}],
    });
    let made = client.json("dynamodb", "DynamoDB_20120810.CreateTable", &body).await?;
    ensure!(made.status == 200, "{}", made.text());
    Ok(())
}

/// One kept connection, which asks for one project after the other and notes what passed, as nginx does.
async fn call(
    socket: PathBuf,
    log: PathBuf,
    keys: Arc<Vec<(String, String)>>,
    counts: Arc<Counts>,
    client: u64,
) -> anyhow::Result<()> {
    let Counts { passed, refused } = &*counts;
    let stream = UnixStream::connect(&socket).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut lines = Lines::open(&log)?;
    let mut ticks = interval(Duration::from_micros(1_000_000 * CONNECTIONS / PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut random = fastrand::Rng::with_seed(client);
    loop {
        ticks.tick().await;
        let (project, key) = &keys[random.usize(..keys.len())];
        let method = METHODS[random.usize(..METHODS.len())];
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).to_string();
        let request = Request::post("/gate")
            .header("host", "gate")
            .header("x-gate-kind", "rpc")
            .header("x-gate-network", NETWORK)
            .header("x-gate-path-key", key)
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        if answer.status() != 204 {
            refused.fetch_add(1, Ordering::Relaxed);
            answer.into_body().collect().await?;
            continue;
        }
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cost: u64 = header("x-gate-cost").parse().context("a cost")?;
        lines.add(project, header("x-gate-key"), header("x-gate-methods"), cost)?;
        answer.into_body().collect().await?;
        passed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The access log, written as late as nginx writes it.
struct Lines {
    file: File,
    held: Vec<u8>,
    written: Instant,
}

impl Lines {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, held: Vec::new(), written: Instant::now() })
    }

    fn add(&mut self, project: &str, key: &str, methods: &str, cost: u64) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let (second, ms) = (now.as_second(), now.subsec_millisecond());
        writeln!(
            self.held,
            "{{\"time\":{second}.{ms:03},\"project\":\"{project}\",\"key\":\"{key}\",\"network\":\"{NETWORK}\",\
             \"methods\":\"{methods}\",\"cost\":{cost},\"status\":200,\"seconds\":0.010,\"bytes_in\":300,\
             \"bytes_out\":900}}"
        )?;
        if self.written.elapsed() >= Duration::from_secs(1) {
            self.file.write_all(&std::mem::take(&mut self.held))?;
            self.written = Instant::now();
        }
        Ok(())
    }
}

/// What a call costs in units of writing and of reading, by the rules of DynamoDB's price list: a write is one for each KB
/// of an item, twice as much in a transaction; a consistent read is one for each 4 KB. Indexes are not in it.
fn units(call: &Call) -> (f64, f64) {
    let body = call.json();
    let kilobytes = |item: &Value| (item.to_string().len() as f64 / 1024.0).ceil();
    let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
    match call.operation.as_str() {
        "PutItem" => (kilobytes(&body["Item"]), 0.0),
        "DeleteItem" | "UpdateItem" => (1.0, 0.0),
        "BatchExecuteStatement" => {
            (all(&body["Statements"]).iter().map(|statement| kilobytes(&statement["Parameters"][0])).sum(), 0.0)
        }
        "TransactWriteItems" => (
            all(&body["TransactItems"])
                .iter()
                .map(|write| if write["Put"].is_null() { 2.0 } else { 2.0 * kilobytes(&write["Put"]["Item"]) })
                .sum(),
            0.0,
        ),
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().cloned().unwrap_or_default();
            (0.0, tables.values().map(|table| all(&table["Keys"]).len() as f64).sum())
        }
        "BatchWriteItem" => {
            let tables = body["RequestItems"].as_object().cloned().unwrap_or_default();
            (tables.values().map(|writes| all(writes).len() as f64).sum(), 0.0)
        }
        _ => (0.0, 1.0),
    }
}
