//! Tables, nodes, and as many tasks as a test wants.

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_aws::{DynamoStore, Tables, connect};
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use nodeweir_emulator::{Client, Fault, Moto, On, Proxy as Aws};
use nodeweir_store::{GateStore as _, Written};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::nodes::Anvil;
use crate::process::{free_port, send, until};
use crate::rig::{Container, Rig, gate_of};

/// Tiers of the tests. `eth_blockNumber` costs 1.
const TIERS: &str = ", tiers: {slow: {requests_per_second: 50, credits_per_month: 1000000}, \
                     small: {requests_per_second: 10000, credits_per_month: 5000}, \
                     big: {requests_per_second: 10000, credits_per_month: 1000000}}";

/// The smallest of them without overdraft.
const STRICT: &str = ", overdraft_percent: 0, tiers: {small: {requests_per_second: 10000, credits_per_month: 5000}}";

/// One task: its own way to AWS, its own bucket, nginx and gate.
pub(crate) struct Task {
    // Ends first: its processes are found by the folder that goes with the rig.
    pub(crate) container: Container,
    pub(crate) rig: Rig,
}

impl Task {
    pub(crate) fn port(&self) -> u16 {
        self.rig.port
    }

    /// The gate's process.
    pub(crate) async fn gate(&self) -> i32 {
        until("the gate has a process", async || gate_of(&self.rig)).await
    }

    pub(crate) async fn signal_gate(&self, signal: Signal) {
        send(self.gate().await, signal);
    }

    /// The value of a metric of the gate, without labels; none while it does not answer.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rig.admin?)).await.ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// From now on does this to its calls of DynamoDB.
    pub(crate) fn fault(&self, fault: Fault) {
        self.rig.aws.fault(On::service("dynamodb"), fault);
    }
}

pub(crate) struct World {
    leader: Anvil,
    node: Anvil,
    aws: Aws,
    tables: Tables,
    /// Past all faults.
    pub(crate) store: DynamoStore,
    pub(crate) tasks: Vec<Task>,
    /// More keys of the section `gate`, with a comma before each.
    gate: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (leader, node) = tokio::join!(Anvil::start(), Anvil::start());
        let aws = Aws::start(Moto::shared());
        let tables = Tables { gate: "gate".to_owned(), usage: "usage".to_owned(), ..Tables::default() };
        let client = aws.client();
        create(&client, &tables.gate, ["kind", "id"], "lapsing", ["lapsing", "lapses"]).await;
        create(&client, &tables.usage, ["project", "row"], "minutes", ["minutes", "row"]).await;
        let credentials = Credentials::new("operator", "secret", None, None, "the tests");
        let sdk = connect(Some("eu-central-1")).await.into_builder().endpoint_url(aws.url());
        let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        let store = DynamoStore::new(&sdk, tables.clone());
        Self { leader, node, aws, tables, store, tasks: Vec::new(), gate: TIERS.to_owned() }
    }

    /// One with so many tasks that know each other.
    pub(crate) async fn with(tasks: usize) -> Self {
        let mut world = Self::new().await;
        world.scale(tasks).await;
        world
    }

    /// One that lets nobody spend what it has not leased, however slow the store is.
    pub(crate) async fn strict(tasks: usize) -> Self {
        let mut world = Self { gate: STRICT.to_owned(), ..Self::new().await };
        world.scale(tasks).await;
        world
    }

    /// One in which a Redis counts rates.
    pub(crate) async fn counted_by(port: u16, tasks: usize) -> Self {
        let gate = format!("{TIERS}, limits: {{store: 'redis://127.0.0.1:{port}'}}");
        let mut world = Self { gate, ..Self::new().await };
        world.scale(tasks).await;
        world
    }

    /// Starts tasks, or stops the last ones, until there are so many, and waits until all know it.
    pub(crate) async fn scale(&mut self, tasks: usize) {
        let new = join_all((self.tasks.len()..tasks).map(|_| self.start(&[]))).await;
        self.tasks.extend(new);
        stop(self.tasks.split_off(tasks)).await;
        self.know_each_other().await;
    }

    pub(crate) async fn know_each_other(&self) {
        for task in &self.tasks {
            let all = u64::try_from(self.tasks.len()).unwrap();
            let look = async || task.metric("nodeweir_gate_sidecars").await.filter(|live| *live == all);
            until("all gates know of each other", look).await;
        }
    }

    /// A task whose program is started by these words.
    pub(crate) async fn start(&self, words: &[&str]) -> Task {
        let aws = Aws::of_account(Moto::shared(), self.aws.account());
        let mut rig = Rig::on(aws, self.leader.port).await;
        (rig.admin, rig.tables, rig.gate) = (Some(free_port()), Some(self.tables.clone()), self.gate.clone());
        rig.publish(&rig.revision(1, "one", self.node.port).compose()).await;
        let container = rig.start_by(words);
        let task = Task { container, rig };
        until("the task is ready", async || (task.container.ready().await == Some(200)).then_some(())).await;
        task
    }

    /// A project of a tier with one key.
    pub(crate) async fn key(&self, project: &str, tier: &str) -> String {
        let (id, created): (ProjectId, _) = (project.parse().unwrap(), Timestamp::now());
        let made = Project {
            id: id.clone(),
            tier: tier.parse().unwrap(),
            created,
            requests_per_second: None,
            credits_per_month: None,
            methods: vec![],
            websocket: false,
        };
        assert_eq!(self.store.put_project(None, &made).await.unwrap(), Written::Done);
        let mut random = [0; 64];
        random[..project.len()].copy_from_slice(project.as_bytes());
        let secret = Secret::from_random(&random).unwrap();
        let (digest, name, restrictions) = (secret.digest(), "main".parse().unwrap(), Restrictions::default());
        let key = Key { digest, project: id, name, restrictions, created, expires: None, revoked: None };
        assert_eq!(self.store.put_key(None, &key).await.unwrap(), Written::Done);
        secret.reveal().to_owned()
    }

    pub(crate) async fn account(&self, project: &str) -> Account {
        self.account_in(project, Period::of(Timestamp::now())).await.unwrap()
    }

    pub(crate) async fn account_in(&self, project: &str, period: Period) -> Option<Account> {
        self.store.account(&project.parse().unwrap(), period).await.unwrap()
    }

    pub(crate) fn fault_all(&self, fault: &Fault) {
        self.tasks.iter().for_each(|task| task.fault(fault.clone()));
    }

    pub(crate) fn heal_all(&self) {
        self.tasks.iter().for_each(|task| task.rig.aws.heal());
    }

    /// Ends all tasks in order.
    pub(crate) async fn stop(&mut self) {
        stop(self.tasks.drain(..).collect()).await;
    }

    /// What was counted of a project: calls and credits.
    pub(crate) async fn used(&self, project: &str) -> (u64, u64) {
        let rows = self.store.usage(&project.parse().unwrap(), Timestamp::MIN, Timestamp::MAX).await.unwrap();
        rows.iter().fold((0, 0), |(calls, credits), row| (calls + row.counts.calls, credits + row.counts.credits))
    }
}

async fn stop(tasks: Vec<Task>) {
    join_all(tasks.into_iter().map(async |mut task| {
        assert_eq!(task.container.stop().await, 0, "{}", task.container.said());
    }))
    .await;
}

async fn create(client: &Client, table: &str, keys: [&str; 2], index: &str, of_index: [&str; 2]) {
    let schema = |[hash, range]: [&str; 2]| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let mut names = [keys, of_index].concat();
    names.sort_unstable();
    names.dedup();
    let attributes: Vec<_> = names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
    let body = json!({
        "TableName": table, "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema(keys), "AttributeDefinitions": attributes,
        "GlobalSecondaryIndexes": [{"IndexName": index, "KeySchema": schema(of_index), "Projection": {"ProjectionType": "KEYS_ONLY"}}],
    });
    let made = client.json("dynamodb", "DynamoDB_20120810.CreateTable", &body).await.unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
}
