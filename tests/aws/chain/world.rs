//! A deployed stack in an account of its own, with its functions ready to run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::routing::{MethodRouter, post};
use axum::{Json, Router};
use nodeweir_emulator::{Client, Function, Moto, Proxy, Reply, Setting};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::permissions::enforce;
use crate::template::{self, ACCOUNT, CLUSTER, LISTENER, SECRET, SECURITY_GROUPS, STAGE, SUBNETS, VPC};

/// The value of the one secret.
pub(crate) const KEY: &str = "0123456789abcdef";

/// One stage.
pub(crate) struct World {
    /// In front of AWS: counts the functions' calls and makes them fail.
    pub(crate) aws: Proxy,
    /// Past it: what the tests themselves do is not counted.
    pub(crate) client: Client,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) probe: Function,
    pub(crate) publish: Function,
    pub(crate) rollout: Function,
    /// The functions' folder, with the configuration.
    folder: TempDir,
    template: String,
}

/// What stands in the template and the configuration, and what it is in this account.
struct Own(Vec<(&'static str, String)>);

impl Own {
    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (placeholder, own)| text.replace(placeholder, own))
    }
}

/// What stands between two marks.
pub(crate) fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

pub(crate) fn good(reply: std::io::Result<Reply>) -> Reply {
    let reply = reply.unwrap();
    assert!(reply.status < 300, "{}: {}", reply.status, reply.text());
    reply
}

impl World {
    /// Deploys the template and the programs, with this configuration.
    pub(crate) async fn deploy(config: &str) -> Self {
        Self::deploy_with(Moto::shared(), config, |_| {}).await
    }

    /// The same in an emulator of the caller's; `change` may change how the functions run.
    pub(crate) async fn deploy_with(moto: &Moto, config: &str, change: impl Fn(&mut Setting)) -> Self {
        Self::deploy_by(moto, template::text(), config, change).await
    }

    /// The same by another template than most tests'.
    pub(crate) async fn deploy_by(moto: &Moto, template: &str, config: &str, change: impl Fn(&mut Setting)) -> Self {
        let aws = Proxy::start(moto);
        let client = aws.client();
        let mut own = external(&client).await;
        // Last, because ARNs have it too.
        own.push((ACCOUNT, aws.account().to_owned()));
        let own = Own(own);
        let template = own.text(template);
        assets(&client, aws.account(), &template).await;
        let outputs = deploy(&client, &template).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.yml"), own.text(config)).unwrap();
        let make = async |output: &str| function(&client, &aws, &outputs, output, folder.path(), &change).await;
        let (probe, publish) = (make("ProbeFunction").await, make("PublishFunction").await);
        let rollout = make("RolloutFunction").await;
        let (name, program) = (&outputs["ProbeFunction"], probe.clone());
        aws.on_invoke(name, move |event| {
            let program = program.clone();
            async move { program.invoke(event).await }
        });
        aws.forget();
        Self { aws, client, outputs, probe, publish, rollout, folder, template }
    }

    /// One call of a service that speaks JSON.
    pub(crate) async fn json(&self, service: &str, target: &str, body: &Value) -> Value {
        good(self.client.json(service, target, body).await).json()
    }

    /// Writes an item of the node list, as a person does in the console.
    pub(crate) async fn write(&self, item: Value) {
        let body = json!({"TableName": self.outputs["NodesTable"], "Item": item});
        self.json("dynamodb", "DynamoDB_20120810.PutItem", &body).await;
    }

    /// A node at a port of this machine.
    pub(crate) async fn add(&self, network: &str, node: &str, port: u16) {
        let url = format!("http://127.0.0.1:{port}");
        self.write(json!({"network": {"S": network}, "node": {"S": node}, "url": {"S": url}})).await;
    }

    pub(crate) async fn rows(&self, table: &str) -> Vec<Value> {
        let body = json!({"TableName": self.outputs[table], "ConsistentRead": true});
        let told = self.json("dynamodb", "DynamoDB_20120810.Scan", &body).await;
        told["Items"].as_array().unwrap().clone()
    }

    /// A node's status, as it is stored; null if there is none.
    pub(crate) async fn status(&self, network: &str, node: &str) -> Value {
        let rows = self.rows("HealthTable").await;
        let row =
            rows.iter().find(|row| row["network"]["S"] == network && row["item"]["S"] == format!("status#{node}"));
        row.and_then(|row| serde_json::from_str(row["value"]["S"].as_str()?).ok()).unwrap_or_default()
    }

    /// What is published, with its version's name; none if nothing is.
    pub(crate) async fn published(&self) -> Option<(String, String)> {
        let path = format!("/{}/revision.conf", self.outputs["Bucket"]);
        let reply = self.client.send("s3", "GET", &path, &[], "").await.unwrap();
        (reply.status == 200).then(|| (reply.header("etag").unwrap().to_owned(), reply.text()))
    }

    /// Whom the published configuration sends requests to, besides the leader.
    pub(crate) async fn serving(&self, network: &str) -> Vec<String> {
        let Some((_, text)) = self.published().await else { return Vec::new() };
        let revision = nodeweir_domain::fleet::revision::Revision::parse(&text).unwrap();
        let roster = &revision.rosters[&network.parse().unwrap()];
        roster.members.iter().map(|member| member.name.to_string()).collect()
    }

    /// The proxy's service, as ECS describes it.
    pub(crate) async fn service(&self) -> Value {
        let body = json!({"cluster": self.outputs["Cluster"], "services": [self.outputs["Service"]]});
        let mut told = self.json("ecs", "AmazonEC2ContainerServiceV20141113.DescribeServices", &body).await;
        told["services"][0].take()
    }

    pub(crate) async fn deployment(&self) -> String {
        self.service().await["deployments"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// What an AWS team has already: a network, a cluster, and a load balancer with its listener.
async fn external(client: &Client) -> Vec<(&'static str, String)> {
    let body = json!({"clusterName": CLUSTER});
    good(client.json("ecs", "AmazonEC2ContainerServiceV20141113.CreateCluster", &body).await);
    let version = ("Version", "2016-11-15");
    let told = good(client.form("ec2", "DescribeSubnets", &[version]).await).text();
    let subnets: Vec<&str> = told.split("<subnetId>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    let groups = good(client.form("ec2", "DescribeSecurityGroups", &[version]).await).text();
    let vpc = between(&told, "<vpcId>", "</vpcId>").unwrap();
    let group = between(&groups, "<groupId>", "</groupId>").unwrap();
    let version = ("Version", "2015-12-01");
    let balancer = [version, ("Name", "main"), ("Subnets.member.1", subnets[0]), ("Subnets.member.2", subnets[1])];
    let told = good(client.form("elasticloadbalancing", "CreateLoadBalancer", &balancer).await).text();
    let balancer = between(&told, "<LoadBalancerArn>", "</LoadBalancerArn>").unwrap();
    let listener = [
        version,
        ("LoadBalancerArn", balancer),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "fixed-response"),
        ("DefaultActions.member.1.FixedResponseConfig.StatusCode", "404"),
    ];
    let told = good(client.form("elasticloadbalancing", "CreateListener", &listener).await).text();
    let listener = between(&told, "<ListenerArn>", "</ListenerArn>").unwrap();
    let body = json!({"Name": "infura", "SecretString": KEY});
    let secret = good(client.json("secretsmanager", "secretsmanager.CreateSecret", &body).await).json();
    let secret = secret["ARN"].as_str().unwrap();
    let placeholders = [SECRET, LISTENER, VPC, SUBNETS[0], SUBNETS[1], SECURITY_GROUPS[0], SECURITY_GROUPS[1]];
    let own = [secret, listener, vpc, subnets[0], subnets[1], group, group].map(str::to_owned);
    placeholders.into_iter().zip(own).collect()
}

/// What `cdk bootstrap` and the publishing of assets leave: the bucket with the functions' packages.
async fn assets(client: &Client, account: &str, template: &str) {
    let body = json!({"Name": "/cdk-bootstrap/hnb659fds/version", "Value": "30", "Type": "String"});
    good(client.json("ssm", "AmazonSSM.PutParameter", &body).await);
    let bucket = format!("/cdk-hnb659fds-assets-{account}-eu-central-1");
    let place =
        "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    good(client.send("s3", "PUT", &bucket, &[], place).await);
    let template: Value = serde_json::from_str(template).unwrap();
    for resource in template["Resources"].as_object().unwrap().values() {
        if let Some(key) = resource["Properties"]["Code"]["S3Key"].as_str() {
            // An empty archive.
            let empty = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            good(client.send("s3", "PUT", &format!("{bucket}/{key}"), &[], empty).await);
        }
    }
}

async fn deploy(client: &Client, template: &str) -> BTreeMap<String, String> {
    let name = format!("nodeweir-{STAGE}");
    let version = ("Version", "2010-05-15");
    let create = [
        version,
        ("StackName", name.as_str()),
        ("TemplateBody", template),
        ("Capabilities.member.1", "CAPABILITY_IAM"),
        ("Capabilities.member.2", "CAPABILITY_NAMED_IAM"),
    ];
    good(client.form("cloudformation", "CreateStack", &create).await);
    let told = good(client.form("cloudformation", "DescribeStacks", &[version, ("StackName", &name)]).await).text();
    assert!(told.contains("<StackStatus>CREATE_COMPLETE"), "{told}");
    let output = |part: &str| {
        let [key, value] = ["OutputKey", "OutputValue"]
            .map(|mark| between(part, &format!("<{mark}>"), &format!("</{mark}>")).unwrap_or_default().to_owned());
        (key, value)
    };
    told.split("<member>").filter(|part| part.contains("<OutputKey>")).map(output).collect()
}

/// A function of the stack with its program, in the environment that the template gives it.
async fn function(
    client: &Client,
    aws: &Proxy,
    outputs: &BTreeMap<String, String>,
    output: &str,
    folder: &Path,
    change: impl Fn(&mut Setting),
) -> Function {
    let name = &outputs[output];
    let program = Path::new(match output {
        "ProbeFunction" => env!("CARGO_BIN_EXE_probe"),
        "PublishFunction" => env!("CARGO_BIN_EXE_publish"),
        "RolloutFunction" => env!("CARGO_BIN_EXE_rollout"),
        other => panic!("no program for {other}"),
    });
    let path = format!("/2015-03-31/functions/{name}/configuration");
    let told = good(client.send("lambda", "GET", &path, &[], "").await).json();
    let mut setting = Setting::new(name, program, &aws.url());
    folder.clone_into(&mut setting.folder);
    aws.account().clone_into(&mut setting.account);
    setting.timeout = Duration::from_secs(told["Timeout"].as_u64().unwrap());
    enforce(client, aws, name, told["Role"].as_str().unwrap()).await;
    let variables = told["Environment"]["Variables"].as_object().unwrap();
    setting.environment =
        variables.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    change(&mut setting);
    Function::new(setting)
}

/// A node that knows nothing but the chain's id and a head, at every address of this machine.
pub(crate) async fn head(head: u64) -> u16 {
    listen(Router::new().fallback_service(node(head))).await
}

/// The same for those alone who have a key.
pub(crate) async fn head_with_key(key: &str, head: u64) -> u16 {
    listen(Router::new().route(&format!("/{key}"), node(head))).await
}

fn node(head: u64) -> MethodRouter {
    let answer = move |Json(call): Json<Value>| async move {
        let result = if call["method"] == "eth_chainId" { crate::nodes::CHAIN } else { head };
        Json(json!({"jsonrpc": "2.0", "id": call["id"], "result": format!("{result:#x}")}))
    };
    post(answer)
}

/// Serves it at a port of this machine.
pub(crate) async fn listen(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, router).into_future());
    port
}

impl World {
    /// One of the functions once more, by its output: as Lambda runs it when the other is busy, or changed.
    pub(crate) async fn twin(&self, output: &str, change: impl Fn(&mut Setting)) -> Function {
        function(&self.client, &self.aws, &self.outputs, output, self.folder.path(), change).await
    }

    /// `cdk deploy` once more, of the same.
    pub(crate) async fn deploy_again(&self) {
        let name = format!("nodeweir-{STAGE}");
        let update = [
            ("Version", "2010-05-15"),
            ("StackName", name.as_str()),
            ("TemplateBody", &self.template),
            ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
        ];
        good(self.client.form("cloudformation", "UpdateStack", &update).await);
    }
}
