//! What the script that uploads the image says and does to ECR, up to the point where an image is built.

use std::path::PathBuf;
use std::process::Output;

use nodeweir_emulator::{Answer, Fault, Moto, On, Proxy as Aws};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::build::{NOWHERE, checkout, command, has_engine};

/// The script, and the account that it is run for.
struct Desk {
    place: TempDir,
    script: PathBuf,
    aws: Aws,
}

impl Desk {
    /// None where there is nothing to build images with.
    fn open() -> Option<Self> {
        if !has_engine() {
            return None;
        }
        let (place, aws) = (tempfile::tempdir().unwrap(), Aws::start(Moto::shared()));
        let script = checkout(place.path());
        Some(Self { place, script, aws })
    }

    /// Runs the script; no registry is within its reach.
    async fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, ("AWS_REGION", "eu-central-1")).await
    }

    async fn run_with(&self, words: &[&str], (name, value): (&str, &str)) -> Output {
        let mut command = command(&self.script, self.place.path(), &self.aws, NOWHERE);
        command.args(["--engine", "buildah", "--arch", "arm64"]).args(words).env(name, value).output().await.unwrap()
    }

    /// It fails, and says why in its last line.
    async fn fails(&self, why: &str) {
        let done = self.run(&[]).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && done.stdout.is_empty(), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(why), "{said}");
    }

    fn ecr(&self) -> String {
        format!("{}.dkr.ecr.eu-central-1.amazonaws.com", self.aws.account())
    }

    fn count(&self, operation: &str) -> usize {
        self.aws.count(&On::call("ecr", operation).by("developer"))
    }
}

/// The repositories of an account.
pub(super) async fn repositories(aws: &Aws) -> Vec<Value> {
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories";
    let told = aws.client().json("ecr", target, &json!({})).await.unwrap().json();
    told["repositories"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let Some(desk) = Desk::open() else { return };
    let done = desk.run(&["--dry-run", "--repository", "team/rpc"]).await;
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let ecr = desk.ecr();
    for would in [
        "would run: aws ecr create-repository --region eu-central-1 --repository-name team/rpc",
        &format!("would log in to {ecr}"),
        "would run: buildah build --file",
        &format!("would run: buildah push {ecr}/team/rpc:"),
    ] {
        assert!(said.contains(would), "{would} is not in: {said}");
    }
    let name = String::from_utf8_lossy(&done.stdout);
    assert!(name.starts_with(&format!("{ecr}/team/rpc:")) && name.ends_with("-arm64\n"), "{name}");
    assert_eq!((desk.count("CreateRepository"), desk.count("GetAuthorizationToken")), (0, 0));
    assert_eq!(repositories(&desk.aws).await, [json!(null); 0]);
}

#[tokio::test]
async fn a_repository_is_made_once_and_a_registry_out_of_reach_is_told() {
    let Some(desk) = Desk::open() else { return };
    for _ in 0..2 {
        desk.fails(&format!("buildah cannot log in to {}; can this machine reach it?", desk.ecr())).await;
    }
    assert_eq!((desk.count("CreateRepository"), desk.count("GetAuthorizationToken")), (1, 2));
    let made = repositories(&desk.aws).await;
    assert_eq!(made.len(), 1);
    assert_eq!(
        (&made[0]["repositoryName"], &made[0]["imageTagMutability"]),
        (&json!("jsonrpc-proxy"), &json!("IMMUTABLE"))
    );
    assert_eq!(made[0]["imageScanningConfiguration"]["scanOnPush"], true);
}

#[tokio::test]
async fn what_is_there_already_is_named_and_not_built_again() {
    let Some(desk) = Desk::open() else { return };
    let done = desk.run(&["--dry-run"]).await;
    let name = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    let tag = name.rsplit_once(':').unwrap().1;
    let call = async |operation: &str, body: Value| {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let told = desk.aws.client().json("ecr", &target, &body).await.unwrap();
        assert_eq!(told.status, 200, "{}", told.text());
    };
    call("CreateRepository", json!({"repositoryName": "jsonrpc-proxy", "imageTagMutability": "IMMUTABLE"})).await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": format!("sha256:{:064}", 1)},
        "layers": [],
    });
    let put = json!({"repositoryName": "jsonrpc-proxy", "imageTag": tag, "imageManifest": manifest.to_string()});
    call("PutImage", put).await;
    let done = desk.run(&[]).await;
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("it is there already"), "{said}");
    assert_eq!(String::from_utf8(done.stdout).unwrap().trim(), name);
    assert_eq!(desk.count("GetAuthorizationToken"), 0);
}

/// Each step that AWS may refuse.
#[tokio::test]
async fn who_may_not_is_told_at_which_step() {
    let Some(desk) = Desk::open() else { return };
    for (service, operation, code, why) in [
        ("sts", "GetCallerIdentity", "InvalidClientTokenId", "AWS does not know you: see AWS_PROFILE, or sign in"),
        (
            "ecr",
            "DescribeRepositories",
            "AccessDeniedException",
            "the ECR repository jsonrpc-proxy cannot be asked for: ",
        ),
        ("ecr", "CreateRepository", "AccessDeniedException", "the ECR repository jsonrpc-proxy cannot be made"),
        ("ecr", "GetAuthorizationToken", "AccessDeniedException", "ECR gives no password for "),
    ] {
        let status = if service == "sts" { 403 } else { 400 };
        desk.aws.fault(On::call(service, operation), Fault::Instead(Answer::error(status, code)));
        desk.fails(why).await;
        desk.aws.heal();
    }
    let done = desk.run_with(&[], ("AWS_REGION", "")).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && said.contains("no region: set AWS_REGION"), "{said}");
}
