//! What stands in an operator's way, and how that is told.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nodeweir_emulator::{Answer, Fault, On};

use super::world::{World, config, nodeweir};
use crate::rig::run;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_wrong_call_is_told_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let call = |args: &[&str]| {
        let mut command = nodeweir(folder.path(), NOWHERE);
        command.args(args);
        run(command)
    };
    let missing = call(&["--stage", "dev", "status"]).await.exits(2);
    missing.says("no configuration of stage dev: there is no config.dev.yml here");
    for bad in ["Dev", "2-eu", "../dev", "dev-", ""] {
        call(&["--stage", bad, "status"]).await.exits(2).says("beginning with a letter");
    }
    let right = "networks:\n  ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}\n";
    fs::write(folder.path().join("config.dev.yml"), right).unwrap();
    for command in [&["status"][..], &["check"], &["node", "list"], &["project", "list"], &["usage", "a"]] {
        let args = [&["--stage", "dev"], command].concat();
        call(&args).await.exits(2).says("config.dev.yml has no section `aws`");
    }
    for command in [&["up"][..], &["demo", "stop", "a"]] {
        let args = [command, &["--stage", "dev"]].concat();
        call(&args).await.exits(2).says("this does not work on stage dev: ").says("NODEWEIR_STAGE");
    }
    let mut by_environment = nodeweir(folder.path(), NOWHERE);
    run({
        by_environment.env("NODEWEIR_STAGE", "dev").arg("up");
        by_environment
    })
    .await
    .exits(2)
    .says("this does not work on stage dev: ");
    call(&["--stage", "dev", "completions", "bash"]).await.exits(0);
    assert!(!folder.path().join("nodeweir-state").exists(), "a stage has no state here");

    fs::write(folder.path().join("other.yml"), config("123456789012", "mode: reload")).unwrap();
    let checked = call(&["--stage", "dev", "--config", "other.yml", "check", "--json"]).await;
    assert_eq!(checked.json()["file"], "other.yml");
}

/// Of a configuration for AWS, what is missing there is told, and nothing about this machine.
#[tokio::test]
async fn a_configuration_is_checked_for_where_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = config("123456789012", "mode: reload");
    let check = async |text: &str| {
        fs::write(folder.path().join("config.dev.yml"), text).unwrap();
        let mut command = nodeweir(folder.path(), NOWHERE);
        command.args(["check", "config.dev.yml"]);
        run(command).await
    };
    let right = check(&text).await.exits(0).says("on AWS: account 123456789012, eu-central-1, behind rpc.example.com");
    assert!(!right.out.contains("state") && !right.out.contains("not found"), "{}", right.out);
    // Behind a load balancer somebody has to say which one.
    check(&text.replace("{enabled: false}", "{}")).await.exits(1).says("`gate.trusted_proxies` is empty");
    check(&text.replace("{enabled: false}", "{trusted_proxies: [10.0.0.0/16]}")).await.exits(0).says("gate: on");
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_told_with_where_it_was_looked_for() {
    let world = World::deployed().await;
    fs::copy(world.place.path().join("config.dev.yml"), world.place.path().join("config.staging.yml")).unwrap();
    let mut command = nodeweir(world.place.path(), &world.aws.url());
    command.args(["--stage", "staging", "status"]);
    run(command).await.exits(1).says("looking for the stack nodeweir-staging: there is none in eu-central-1");
}

/// The same stage in another account must not be taken for it.
#[tokio::test]
async fn credentials_of_another_account_are_refused() {
    let world = World::deployed().await;
    fs::write(world.place.path().join("config.dev.yml"), config("999999999999", "mode: reload")).unwrap();
    let done = world.run(&["node", "add", "ethereum", "a", "http://a"]).await.exits(1);
    done.says(&format!("your credentials are for account {}", world.aws.account())).says("is for 999999999999");
}

#[tokio::test]
async fn what_aws_refuses_is_told_with_what_to_do() {
    let world = World::serving().await;
    for (code, words) in [
        ("ExpiredToken", "sign in again"),
        ("InvalidClientTokenId", "AWS does not know these credentials"),
        ("AccessDenied", "have it granted"),
        ("Throttling", "try again in a moment"),
    ] {
        world.aws.fault(On::call("cloudformation", "DescribeStacks"), Fault::Instead(Answer::error(400, code)));
        let done = world.run(&["status"]).await.exits(1).says(words);
        done.says(&format!("looking for the stack nodeweir-dev: {code}: "));
        world.aws.heal();
    }
    for (code, words) in [
        ("ExpiredTokenException", "sign in again"),
        ("AccessDeniedException", "have it granted"),
        ("ProvisionedThroughputExceededException", "try again in a moment"),
    ] {
        world.aws.fault(On::call("dynamodb", "Scan"), Fault::Instead(Answer::error(400, code)));
        let done = world.run(&["node", "list"]).await.exits(1).says(words).says("the store DynamoDB table");
        done.says(code);
        world.aws.heal();
    }
}

#[tokio::test]
async fn without_credentials_that_is_said_soon() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.dev.yml"), config("123456789012", "mode: reload")).unwrap();
    // It takes connections and says nothing: whoever looks for an EC2 instance's own credentials waits.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let mut command = nodeweir(folder.path(), NOWHERE);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata).args(["--stage", "dev", "status"]);
    let done = run(command).await.exits(1);
    println!("{:?}: {}", began.elapsed(), done.err);
    done.says("looking for the stack nodeweir-dev: there are no credentials for AWS").says("AWS_PROFILE");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn where_aws_cannot_be_reached_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.dev.yml"), config("123456789012", "mode: reload")).unwrap();
    let mut command = nodeweir(folder.path(), NOWHERE);
    command.args(["--stage", "dev", "status"]);
    let done = run(command).await.exits(1);
    println!("{}", done.err);
    done.says("looking for the stack nodeweir-dev: AWS cannot be reached").says("refused");
}

/// Profiles of people: SSO, and programs that hand out credentials.
#[tokio::test]
async fn credentials_come_from_a_profile_too() {
    let world = World::serving().await;
    let profile = world.place.path().join("aws");
    let said = r#"{"Version": 1, "AccessKeyId": "operator", "SecretAccessKey": "secret"}"#;
    let program = world.place.path().join("credentials");
    fs::write(&program, said).unwrap();
    fs::write(&profile, format!("[profile people]\ncredential_process = /bin/cat {}\n", program.display())).unwrap();
    let mut command = world.command(&["status"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_CONFIG_FILE", &profile).env("AWS_PROFILE", "people").env("PATH", "/usr/bin:/bin");
    run(command).await.exits(0).says("all is well");

    let sso = "[profile people]\nsso_session = ours\nsso_account_id = 123456789012\nsso_role_name = operator\n\
               [sso-session ours]\nsso_region = eu-central-1\nsso_start_url = https://ours.awsapps.com/start\n";
    fs::write(&profile, sso).unwrap();
    let mut command = world.command(&["status"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_CONFIG_FILE", &profile).env("AWS_PROFILE", "people");
    let done = run(command).await.exits(1);
    println!("{}", done.err);
    done.says("aws sso login");
}
