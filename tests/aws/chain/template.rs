//! The template, as `cdk synth` makes it: once for all tests of this program that run no task.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The stage, and what stands in the configuration for what each test's account has of its own.
pub(crate) const STAGE: &str = "test";
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const LISTENER: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0123456789abcdef/fedcba9876543210";
pub(crate) const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf";
pub(crate) const VPC: &str = "vpc-0123456789abcdef0";
pub(crate) const SUBNETS: [&str; 2] = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"];
pub(crate) const SECURITY_GROUPS: [&str; 2] = ["sg-0123456789abcdef0", "sg-0123456789abcdef1"];
pub(crate) const CLUSTER: &str = "main";

/// What the configuration says of the proxy's tasks.
pub(crate) struct Tasks<'a> {
    pub(crate) port: u16,
    pub(crate) image: &'a str,
    pub(crate) architecture: &'a str,
}

/// A configuration with one network; the tests add what they need.
pub(crate) fn config(networks: &str, more: &str) -> String {
    let image = format!("{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0");
    config_with(&Tasks { port: 8080, image: &image, architecture: "arm64" }, networks, more)
}

/// The same with tasks that are run, and not only described.
pub(crate) fn config_with(tasks: &Tasks<'_>, networks: &str, more: &str) -> String {
    let ([one, other], [probe, proxy]) = (SUBNETS, SECURITY_GROUPS);
    let Tasks { port, image, architecture } = tasks;
    format!(
        "default_network: ethereum
networks:
{networks}
secrets:
  INFURA_KEY:
    hosts: [127.0.0.1]
proxy:
  listen: 0.0.0.0:{port}
{more}
aws:
  account: \"{ACCOUNT}\"
  region: eu-central-1
  vpc: {VPC}
  subnets: [{one}, {other}]
  security_groups:
    probe: [{probe}]
    proxy: [{proxy}]
  cluster: {CLUSTER}
  load_balancer:
    listener: {LISTENER}
    host: rpc.example.com
  image: {image}
  service:
    architecture: {architecture}
  functions:
    architecture: x86_64
  secrets:
    INFURA_KEY: {SECRET}
"
    )
}

pub(crate) fn network(id: &str, leader: u16) -> String {
    let chain = crate::nodes::CHAIN;
    format!(
        "  {id}:\n    chain_id: {chain}\n    block_time: 12s\n    leader:\n      name: infura\n      url: http://127.0.0.1:{leader}\n"
    )
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The template's text. What its tasks and functions are told of the networks does not matter: no task runs, and the
/// functions are told by the harness.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| synthesise(&config(&network("ethereum", 1), "")));
    &TEXT
}

/// The template of a configuration.
pub(crate) fn synthesise(config: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    let infra = repository().join("infra");
    let cdk = infra.join("node_modules/.bin/cdk");
    assert!(
        cdk.exists(),
        "these tests need the CDK: there is none at {}. Run scripts/test, which installs it",
        cdk.display()
    );
    let file = place.path().join("config.yml");
    fs::write(&file, config).unwrap();
    for flow in ["probe", "publish", "rollout"] {
        let folder = place.path().join("binaries").join(flow);
        fs::create_dir_all(&folder).unwrap();
        // The programs themselves are run by the harness.
        fs::write(folder.join("bootstrap"), "#!/bin/sh\n").unwrap();
    }
    let out = place.path().join("out");
    let made = Command::new(cdk)
        .current_dir(&infra)
        .args(["synth", "--quiet", "-c", &format!("stage={STAGE}"), "-c", &format!("config={}", file.display())])
        .args(["-c", &format!("binaries={}", place.path().join("binaries").display())])
        .args(["--output", &out.display().to_string()])
        .output()
        .unwrap();
    assert!(made.status.success(), "cdk synth: {}", String::from_utf8_lossy(&made.stderr));
    fs::read_to_string(out.join(format!("nodeweir-{STAGE}.template.json"))).unwrap()
}
