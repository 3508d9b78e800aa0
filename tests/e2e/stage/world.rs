//! A stage: a stack in an account of its own, the flows that keep it, and an operator who calls `nodeweir`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::Timestamp;
use nodeweir_aws::{DynamoStore, EcsService, S3Object, Stack, Tables, connect};
use nodeweir_control::deploying::Deploying;
use nodeweir_control::edges::{Prober, PublishedObject as _};
use nodeweir_control::probe::{self, Scope, unjudged};
use nodeweir_control::{publish, rollout};
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::Node;
use nodeweir_domain::fleet::probe::{Answer, Failure, Observation};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_emulator::{Client, Moto, Proxy};
use serde_json::json;
use tempfile::TempDir;

use crate::rig::{Done, NODEWEIR, run};
use crate::status::Status;

pub(crate) const STAGE: &str = "dev";
/// Whose calls are the operator's.
pub(crate) const OPERATOR: &str = "operator";
const REGION: &str = "eu-central-1";
/// The chain of all nodes.
const CHAIN: u64 = 1;

pub(crate) struct World {
    pub(crate) aws: Proxy,
    pub(crate) place: TempDir,
    pub(crate) config: Config,
    pub(crate) tables: Tables,
    pub(crate) store: DynamoStore,
    object: S3Object,
    service: EcsService,
    /// Nodes that answer no probe, by their short names.
    pub(crate) dead: Mutex<BTreeSet<String>>,
}

/// Every node answers but the dead.
impl Prober for World {
    async fn probe(&self, node: &Node, ask_chain: bool) -> Observation {
        let is_dead = self.dead.lock().unwrap().contains(node.name.as_str());
        let answer = Answer { head: 100, chain_id: ask_chain.then_some(CHAIN) };
        let outcome = if is_dead { Err(Failure::Refused) } else { Ok(answer) };
        Observation { address: node.address.clone(), latency: Duration::from_millis(3), outcome }
    }
}

impl World {
    /// A stack that was just deployed: nothing ran yet.
    pub(crate) async fn deployed() -> Self {
        Self::with("mode: redeploy, min_interval: 0s").await
    }

    /// The same with another section `rollout`.
    pub(crate) async fn with(rollout: &str) -> Self {
        let aws = Proxy::start(Moto::shared());
        let text = config(aws.account(), rollout);
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(format!("config.{STAGE}.yml")), &text).unwrap();
        create_stack(&aws.client()).await;
        let sdk = sdk(&aws.url()).await;
        let stack = Stack::find(&sdk, STAGE).await.unwrap();
        let store = DynamoStore::new(&sdk, stack.tables.clone());
        Self {
            tables: stack.tables,
            config: Config::read(&text).unwrap(),
            object: S3Object::new(&sdk, stack.bucket),
            service: EcsService::new(&sdk, stack.cluster, stack.service, store.clone()),
            dead: Mutex::default(),
            store,
            place,
            aws,
        }
    }

    /// One with nodes `a` and `b`, both of which serve in what runs.
    pub(crate) async fn serving() -> Self {
        let world = Self::deployed().await;
        for name in ["a", "b"] {
            world.kept(&["node", "add", "ethereum", name, &url(name)]).await.exits(0);
        }
        world.tick().await;
        world
    }

    /// All three functions, once: what a schedule does.
    pub(crate) async fn tick(&self) {
        probe::run(&self.store, self, &self.config, &Scope::All, Timestamp::now()).await.unwrap();
        self.publish().await;
        self.roll_out().await;
    }

    pub(crate) async fn publish(&self) {
        publish::run(&self.store, &self.object, &self.config, Timestamp::now()).await.unwrap();
    }

    pub(crate) async fn roll_out(&self) {
        rollout::run(&self.store, &self.object, &Deploying(self.service.clone()), &self.config, Timestamp::now())
            .await
            .unwrap();
    }

    /// Calls `nodeweir` while the functions run after each edit, as streams and events make them.
    pub(crate) async fn kept(&self, args: &[&str]) -> Done {
        let keep = async {
            loop {
                let new = unjudged(&self.store, &self.config).await.unwrap();
                if !new.is_empty() {
                    let scope = Scope::Networks(new);
                    probe::run(&self.store, self, &self.config, &scope, Timestamp::now()).await.unwrap();
                }
                self.publish().await;
                self.roll_out().await;
                // Not a wait for anything: a pause between two looks.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = self.run(args) => done,
            () = keep => unreachable!("it has no end"),
        }
    }

    /// Calls `nodeweir` while no function runs.
    pub(crate) async fn run(&self, args: &[&str]) -> Done {
        run(self.command(args)).await
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = nodeweir(self.place.path(), &self.aws.url());
        command.args(["--stage", STAGE]).args(args);
        command
    }

    pub(crate) async fn status(&self) -> Status {
        let done = self.run(&["status", "--json"]).await;
        Status { code: done.code, value: done.json() }
    }

    pub(crate) async fn published(&self) -> Revision {
        let (_, text) = self.object.get().await.unwrap().unwrap();
        Revision::parse(&text).unwrap()
    }

    /// Who serves in what is published.
    pub(crate) async fn serves(&self, name: &str) -> bool {
        let revision = self.published().await;
        let roster = revision.rosters.values().next().unwrap();
        roster.members.iter().any(|member| member.name.as_str() == name)
    }
}

/// Where nobody listens, because nobody asks.
pub(crate) fn url(name: &str) -> String {
    format!("http://{name}.example.com:8545/")
}

/// `nodeweir` of an operator with credentials, in this folder and nothing else.
pub(crate) fn nodeweir(folder: &Path, endpoint: &str) -> Command {
    let mut command = Command::new(NODEWEIR);
    command.current_dir(folder).stdin(Stdio::null()).env_clear();
    command.env("USER", "olga").env("HOME", folder).env("AWS_ENDPOINT_URL", endpoint);
    command.env("AWS_ACCESS_KEY_ID", OPERATOR).env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

pub(crate) fn config(account: &str, rollout: &str) -> String {
    let listener = format!("arn:aws:elasticloadbalancing:{REGION}:{account}:listener/app/main/0123/4567");
    format!(
        "networks:
  ethereum:
    chain_id: {CHAIN}
    block_time: 12s
    leader: {{name: leader, url: 'http://leader.example.com/'}}
health: {{interval: 60s}}
proxy:
  listen: 0.0.0.0:8080
  timeouts: {{connect: 100ms, attempt: 200ms, total: 900ms, keepalive_min: 2s, shutdown: 1s}}
gate: {{enabled: false}}
rollout: {{{rollout}}}
aws:
  account: '{account}'
  region: {REGION}
  vpc: vpc-0123456789abcdef0
  subnets: [subnet-0123456789abcdef0]
  security_groups: {{probe: [sg-0123456789abcdef0], proxy: [sg-0123456789abcdef1]}}
  cluster: main
  load_balancer: {{listener: '{listener}', host: rpc.example.com}}
  image: 123456789012.dkr.ecr.{REGION}.amazonaws.com/jsonrpc-proxy:0.1.0
"
    )
}

async fn sdk(url: &str) -> SdkConfig {
    let credentials = Credentials::new("functions", "secret", None, None, "the tests");
    let sdk = connect(Some(REGION)).await.into_builder();
    sdk.endpoint_url(url).credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

/// What of a stack the program looks at.
async fn create_stack(client: &Client) {
    let schema = |[hash, range]: [&str; 2]| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    // An index is called what its partition key is.
    let table = |(logical, keys, index): (&str, [&str; 2], Option<[&str; 2]>)| {
        let names: BTreeSet<_> = keys.into_iter().chain(index.into_iter().flatten()).collect();
        let names: Vec<_> = names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
        let mut properties = json!({
            "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": names, "KeySchema": schema(keys),
        });
        if let Some(keys) = index {
            let projection = json!({"ProjectionType": "KEYS_ONLY"});
            properties["GlobalSecondaryIndexes"] =
                json!([{"IndexName": keys[0], "KeySchema": schema(keys), "Projection": projection}]);
        }
        format!(r#""{logical}": {{"Type": "AWS::DynamoDB::Table", "Properties": {properties}}}"#)
    };
    let tables = [
        ("Nodes", ["network", "node"], None),
        ("Health", ["network", "item"], None),
        ("History", ["kind", "id"], None),
        ("Gate", ["kind", "id"], Some(["lapsing", "lapses"])),
        ("Usage", ["project", "row"], Some(["minutes", "row"])),
    ]
    .map(table);
    let template = format!(
        r#"{{"Resources": {{{},
        "Published": {{"Type": "AWS::S3::Bucket"}},
        "Main": {{"Type": "AWS::ECS::Cluster", "Properties": {{"ClusterName": "main"}}}},
        "Task": {{"Type": "AWS::ECS::TaskDefinition", "Properties": {{"Family": "proxy",
            "ContainerDefinitions": [{{"Name": "proxy", "Image": "proxy", "Memory": 64}}]}}}},
        "Proxy": {{"Type": "AWS::ECS::Service", "DependsOn": "Main", "Properties": {{"Cluster": "main", "ServiceName": "proxy",
            "TaskDefinition": {{"Ref": "Task"}}, "DesiredCount": 2}}}}}},
        "Outputs": {{"NodesTable": {{"Value": {{"Ref": "Nodes"}}}}, "HealthTable": {{"Value": {{"Ref": "Health"}}}},
            "HistoryTable": {{"Value": {{"Ref": "History"}}}}, "GateTable": {{"Value": {{"Ref": "Gate"}}}},
            "UsageTable": {{"Value": {{"Ref": "Usage"}}}}, "Bucket": {{"Value": {{"Ref": "Published"}}}},
            "Cluster": {{"Value": "main"}}, "Service": {{"Value": "proxy"}}}}}}"#,
        tables.join(",\n")
    );
    let name = format!("nodeweir-{STAGE}");
    let made = client.form("cloudformation", "CreateStack", &[("StackName", &name), ("TemplateBody", &template)]).await;
    let made = made.unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
}
