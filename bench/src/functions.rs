//! The functions on AWS, as `cargo lambda build` makes them: how big they are, how soon they are ready, what they need for a
//! thousand nodes. AWS itself is an emulator, so what it takes to answer is not AWS's time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use nodeweir_emulator::events::{Place, stream_batch};
use nodeweir_emulator::{Client, Function, FunctionError, Moto, On, Proxy, Quota, Setting, Stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nodes::{Counts, Nodes};
use crate::sample::{NETWORKS, config_text, item, median, ms};

const FLOWS: [&str; 3] = ["probe", "publish", "rollout"];
/// Of the default memory: a function of 1,769 MB has one processor.
const MEMORY_MB: u32 = 512;
const STARTS: usize = 21;
const COUNTS: Counts = Counts { answering: 900, silent: 100 };
const TICKS: usize = 5;
const EDITS: usize = 5;

const TABLES: [(&str, [&str; 2]); 3] =
    [("nodes", ["network", "node"]), ("health", ["network", "item"]), ("history", ["kind", "id"])];
const BUCKET: &str = "nodeweir-bench";
const ECS: &str = "AmazonEC2ContainerServiceV20141113";

/// Runs all of it and tells, as tables.
pub(crate) async fn measure() -> anyhow::Result<String> {
    let quota = Quota::of_memory(MEMORY_MB).map_err(anyhow::Error::msg);
    let quota = quota.context("a share of the processor, as a function gets it, needs root and control groups")?;
    let nodes = Nodes::start(COUNTS)?;
    let stage = Stage::make(&nodes).await?;
    let mut table = packages()?;
    table += &starts(&stage, quota).await?;
    table += &ticks(&stage, &nodes, quota).await?;
    Ok(table)
}

fn program(flow: &str) -> anyhow::Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lambda").join(flow).join("bootstrap");
    if !file.is_file() {
        bail!(
            "{} is not there: build it with `cargo lambda build -p nodeweir-lambdas --release --locked`",
            file.display()
        );
    }
    Ok(file)
}

fn packages() -> anyhow::Result<String> {
    let mut table = "packages, MB (10^6 bytes)\n".to_owned();
    for flow in FLOWS {
        let bytes = std::fs::read(program(flow)?)?;
        // What a ZIP makes of it, but for some hundred bytes of names.
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&bytes)?;
        let packed = packed.finish()?;
        let mb = |length: usize| length as f64 / 1e6;
        writeln!(table, "  {flow:<10} {:>6.2} as a program {:>6.2} packed", mb(bytes.len()), mb(packed.len()))?;
        ensure!(mb(packed.len()) < 8.0, "the package of {flow} is too big:\n{table}");
    }
    Ok(table)
}

/// What a stack has, as far as the functions see it.
struct Stage {
    aws: Proxy,
    client: Client,
    folder: TempDir,
    // Ends with this.
    _moto: Moto,
}

impl Stage {
    async fn make(nodes: &Nodes) -> anyhow::Result<Self> {
        let moto = Moto::start();
        let aws = Proxy::start(&moto);
        let client = aws.client();
        for (name, keys) in TABLES {
            let body = json!({
                "TableName": name,
                "KeySchema": [{"AttributeName": keys[0], "KeyType": "HASH"}, {"AttributeName": keys[1], "KeyType": "RANGE"}],
                "AttributeDefinitions": keys.map(|key| json!({"AttributeName": key, "AttributeType": "S"})),
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            });
            call(&client, "dynamodb", "DynamoDB_20120810.CreateTable", &body).await?;
        }
        let place = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
        let made = client.send("s3", "PUT", &format!("/{BUCKET}"), &[], place).await?;
        ensure!(made.status == 200, "{}", made.text());
        call(&client, "ecs", &format!("{ECS}.CreateCluster"), &json!({"clusterName": "main"})).await?;
        let task =
            json!({"family": "proxy", "containerDefinitions": [{"name": "proxy", "image": "proxy:1", "memory": 512}]});
        call(&client, "ecs", &format!("{ECS}.RegisterTaskDefinition"), &task).await?;
        let service = json!({"cluster": "main", "serviceName": "proxy", "taskDefinition": "proxy", "desiredCount": 1});
        call(&client, "ecs", &format!("{ECS}.CreateService"), &service).await?;

        let folder = tempfile::tempdir()?;
        let more =
            json!({"proxy": {"listen": "0.0.0.0:8080"}, "rollout": {"min_interval": "0s"}, "aws": aws_section()});
        let text = config_text(|index| format!("http://127.0.0.1:{}", nodes.ports[index]), &more);
        std::fs::write(folder.path().join("config.yml"), text)?;
        Ok(Self { aws, client, folder, _moto: moto })
    }

    fn function(&self, flow: &str, quota: Option<Quota>) -> anyhow::Result<Function> {
        let mut setting = Setting::new(flow, program(flow)?, &self.aws.url());
        self.folder.path().clone_into(&mut setting.folder);
        self.aws.account().clone_into(&mut setting.account);
        setting.quota = quota;
        setting.timeout = Duration::from_secs(300);
        let variables = [
            ("STAGE", "bench"),
            ("NODES_TABLE", "nodes"),
            ("HEALTH_TABLE", "health"),
            ("HISTORY_TABLE", "history"),
            ("GATE_TABLE", "gate"),
            ("USAGE_TABLE", "usage"),
            ("BUCKET", BUCKET),
            ("PROBE_FUNCTION", "probe"),
            ("CLUSTER", "main"),
            ("SERVICE", "proxy"),
        ];
        setting.environment =
            variables.iter().map(|(name, value)| (format!("NODEWEIR_{name}"), (*value).to_owned())).collect();
        Ok(Function::new(setting))
    }
}

fn aws_section() -> Value {
    json!({
        "account": "123456789012",
        "region": "eu-central-1",
        "vpc": "vpc-0123456789abcdef0",
        "subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "security_groups": {"probe": ["sg-0123456789abcdef0"], "proxy": ["sg-0123456789abcdef1"]},
        "cluster": "main",
        "load_balancer": {
            "listener": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0123456789abcdef/fedcba9876543210",
            "host": "rpc.example.com",
        },
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0",
    })
}

async fn call(client: &Client, service: &str, target: &str, body: &Value) -> anyhow::Result<Value> {
    let reply = client.json(service, target, body).await?;
    ensure!(reply.status == 200, "{target}: {}", reply.text());
    Ok(reply.json())
}

/// From the start of the process to its asking for work, in turns.
async fn starts(stage: &Stage, quota: Quota) -> anyhow::Result<String> {
    let mut taken = vec![(Vec::new(), Vec::new()); FLOWS.len()];
    for _ in 0..STARTS {
        for (flow, (whole, share)) in FLOWS.iter().zip(&mut taken) {
            for (quota, times) in [(None, whole), (Some(quota), share)] {
                let function = stage.function(flow, quota)?;
                times.extend(function.start().await.map_err(failed)?);
            }
        }
    }
    let mut table = format!("cold start (init), ms, {STARTS} of each\n");
    for (flow, (whole, share)) in FLOWS.iter().zip(&taken) {
        for (what, times) in [("whole processor", whole), ("as 512 MB have it", share)] {
            let longest = times.iter().max().copied().unwrap_or_default();
            writeln!(table, "  {flow:<10} {what:<18} median {:>6.1}  longest {:>6.1}", ms(median(times)), ms(longest))?;
        }
        ensure!(median(whole) < Duration::from_millis(150), "the cold start of {flow} takes too long:\n{table}");
    }
    Ok(table)
}

/// Ticks without news, and edits.
async fn ticks(stage: &Stage, nodes: &Nodes, quota: Quota) -> anyhow::Result<String> {
    let total = COUNTS.answering + COUNTS.silent;
    for indexes in (NETWORKS..total).collect::<Vec<_>>().chunks(25) {
        let puts: Vec<Value> =
            indexes.iter().map(|index| json!({"PutRequest": {"Item": row(*index, nodes.ports[*index])}})).collect();
        let body = json!({"RequestItems": {"nodes": puts}});
        call(&stage.client, "dynamodb", "DynamoDB_20120810.BatchWriteItem", &body).await?;
    }
    let (probe, publish, rollout) = (
        stage.function("probe", Some(quota))?,
        stage.function("publish", Some(quota))?,
        stage.function("rollout", Some(quota))?,
    );
    let place = Place { account: stage.aws.account(), region: "eu-central-1", time: "2026-01-01T00:00:00Z" };
    let invoked = probe.clone();
    stage.aws.on_invoke("probe", move |event| {
        let probe = invoked.clone();
        async move { probe.invoke(event).await }
    });

    let mut first = Duration::ZERO;
    // The first finds everybody new, a second one may be needed for those that it had no time for.
    for round in 0..2 {
        let begun = Instant::now();
        probe.invoke(place.scheduled()).await.map_err(failed)?;
        if round == 0 {
            first = begun.elapsed();
        }
        publish.invoke(place.scheduled()).await.map_err(failed)?;
        rollout.invoke(place.scheduled()).await.map_err(failed)?;
    }

    let mut taken = Vec::new();
    let mut writes = Vec::new();
    for _ in 0..TICKS {
        stage.aws.forget();
        let begun = Instant::now();
        let told = probe.invoke(place.scheduled()).await.map_err(failed)?;
        taken.push(begun.elapsed());
        ensure!(told["flips"] == 0, "a tick without news: {told}");
        writes.push(stage.aws.count(&On::call("dynamodb", "PutItem")));
        let elsewhere = stage.aws.calls().iter().filter(|call| call.service != "dynamodb").count();
        ensure!(elsewhere == 0, "a tick without news calls nobody but the store");
    }
    ensure!(writes.iter().all(|writes| *writes <= NETWORKS), "one write per network: {writes:?}");

    let mut table = format!(
        "{total} nodes on {NETWORKS} networks, {} of them silent, as {MEMORY_MB} MB have it, against an emulator of AWS\n",
        COUNTS.silent
    );
    writeln!(table, "  first tick, everybody new: {:.1} s", first.as_secs_f64())?;
    writeln!(
        table,
        "  tick without news: median of {TICKS} {:.2} s, {} writes, 0 calls of S3 or ECS",
        median(&taken).as_secs_f64(),
        writes[0]
    )?;
    table += &edits(stage, &publish, &nodes.ports).await?;
    let mib = |function: &Function| function.peak_kib() as f64 / 1024.0;
    for (flow, function) in [("probe", &probe), ("publish", &publish), ("rollout", &rollout)] {
        writeln!(table, "  peak memory of {flow:<8} {:>6.1} MiB", mib(function))?;
        ensure!(mib(function) < f64::from(MEMORY_MB) / 2.0, "{flow} needs too much memory:\n{table}");
    }
    Ok(table)
}

/// From a batch of the stream that tells of an edit to the object in S3.
async fn edits(stage: &Stage, publish: &Function, ports: &[u16]) -> anyhow::Result<String> {
    let mut stream = Stream::of_table(&stage.client, "nodes").await;
    stream.new_records().await;
    let mut taken = Vec::new();
    for edit in 0..EDITS {
        let mut row = row(NETWORKS, ports[NETWORKS]);
        row["weight"] = json!({"N": (edit + 2).to_string()});
        call(&stage.client, "dynamodb", "DynamoDB_20120810.PutItem", &json!({"TableName": "nodes", "Item": row}))
            .await?;
        let records = stream.new_records().await;
        let batch = stream_batch(stream.arn(), &records);
        stage.aws.forget();
        let begun = Instant::now();
        let told = publish.invoke(batch).await.map_err(failed)?;
        taken.push(begun.elapsed());
        ensure!(told == json!({"batchItemFailures": []}), "{told}");
        ensure!(stage.aws.count(&On::call("s3", "PutObject")) == 1, "one batch publishes the edit");
    }
    Ok(format!("  edit to S3: in one batch, median of {EDITS} {:.2} s\n", median(&taken).as_secs_f64()))
}

fn row(index: usize, port: u16) -> Value {
    let item = item(index, &json!({}));
    json!({"network": {"S": item.network}, "node": {"S": item.node}, "url": {"S": format!("http://127.0.0.1:{port}")}})
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: FunctionError) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", error.kind, error.message)
}
