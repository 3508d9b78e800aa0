//! What the other tests rely on in the emulator itself.

use std::process::{Command, Stdio};

use nodeweir_emulator::events::{fits, stream_batch};
use nodeweir_emulator::{Moto, Proxy, Stream};
use serde_json::json;

use crate::table;

/// moto checks a condition and then writes. Were two requests in it at once, both would find the item absent.
#[tokio::test]
async fn of_many_who_claim_an_item_one_gets_it() {
    let aws = Proxy::start(Moto::shared());
    table::make(&aws.client()).await;
    for round in 0..5 {
        let client = aws.client();
        let claims: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { table::claim(&client, &format!("round {round}")).await.unwrap().status })
            })
            .collect();
        let mut statuses = Vec::new();
        for claim in claims {
            statuses.push(claim.await.unwrap());
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 19, "{statuses:?}");
    }
}

#[tokio::test]
async fn accounts_keep_tests_apart() {
    let (one, other) = (Proxy::start(Moto::shared()), Proxy::start(Moto::shared()));
    assert_ne!(one.account(), other.account());
    table::make(&one.client()).await;
    table::make(&other.client()).await;
    table::put(&one.client(), "a").await.unwrap();
    assert_eq!(table::keys(&one.client()).await, ["a"]);
    assert!(table::keys(&other.client()).await.is_empty());
}

/// The compare-and-swap of the published object.
#[tokio::test]
async fn objects_are_put_under_conditions() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    let bucket = format!("/conditions-{}", aws.account());
    let place =
        "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(client.send("s3", "PUT", &bucket, &[], place).await.unwrap().status, 200);
    let key = format!("{bucket}/revision.conf");
    let put = async |headers: &[(&str, &str)], body: &'static str| {
        client.send("s3", "PUT", &key, headers, body).await.unwrap()
    };
    assert_eq!(put(&[("if-match", "\"none\"")], "x").await.status, 404);
    let first = put(&[("if-none-match", "*")], "first").await;
    assert_eq!(first.status, 200);
    let etag = first.header("etag").unwrap();
    assert_eq!(put(&[("if-none-match", "*")], "x").await.status, 412);
    assert_eq!(put(&[("if-match", etag)], "second").await.status, 200);
    assert_eq!(put(&[("if-match", etag)], "third").await.status, 412);
    let read = client.send("s3", "GET", &key, &[], "").await.unwrap();
    assert_eq!(read.text(), "second");
    assert_ne!(read.header("etag"), Some(etag));
}

#[tokio::test]
async fn a_stream_tells_each_change_once() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    table::make(&client).await;
    let mut stream = Stream::of_table(&client, "t").await;
    assert!(stream.new_records().await.is_empty());
    table::put(&client, "status#a").await.unwrap();
    table::put(&client, "seen").await.unwrap();
    let records = stream.new_records().await;
    assert_eq!(records.iter().map(|record| &record["eventName"]).collect::<Vec<_>>(), ["INSERT", "INSERT"]);
    let filter = json!({"dynamodb": {"Keys": {"k": {"S": [{"prefix": "status#"}]}}}});
    let delivered: Vec<_> = records.into_iter().filter(|record| fits(&filter, record)).collect();
    let batch = stream_batch(stream.arn(), &delivered);
    assert_eq!(batch["Records"].as_array().unwrap().len(), 1);
    assert_eq!(batch["Records"][0]["dynamodb"]["NewImage"]["k"]["S"], "status#a");
    assert_eq!(batch["Records"][0]["awsRegion"], "eu-central-1");
    assert!(batch["Records"][0]["eventSourceARN"].as_str().unwrap().contains(":table/t/stream/"));
    assert!(stream.new_records().await.is_empty());
}

/// A dashboard names alarms and a target group; moto knows neither of the two names by itself.
#[tokio::test]
async fn a_stack_may_have_what_the_emulator_cannot_make() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    let body = json!({"Fn::Join": ["", ["{\"widgets\":[{\"type\":\"text\",\"x\":0,\"y\":0,\"width\":1,\"height\":1,\
        \"properties\":{\"markdown\":\"", {"Fn::GetAtt": ["Alarm", "Arn"]}, " ",
        {"Fn::GetAtt": ["Group", "TargetGroupFullName"]}, "\"}}]}"]]});
    let template = json!({
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
            "Group": {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
                      "Properties": {"Port": 80, "Protocol": "HTTP", "VpcId": {"Ref": "Vpc"}}},
            "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "nodeweir-test-alarm"}},
            "Dashboard": {"Type": "AWS::CloudWatch::Dashboard",
                          "Properties": {"DashboardName": "d", "DashboardBody": body}},
        },
        "Outputs": {"Group": {"Value": {"Fn::GetAtt": ["Group", "TargetGroupFullName"]}}},
    });
    let template = template.to_string();
    let asked = [("StackName", "s"), ("TemplateBody", template.as_str())];
    let made = client.form("cloudformation", "CreateStack", &asked).await.unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    let stacks = client.form("cloudformation", "DescribeStacks", &[("StackName", "s")]).await.unwrap().text();
    assert!(stacks.contains("CREATE_COMPLETE") && stacks.contains("targetgroup/"), "{stacks}");
    let resources =
        client.form("cloudformation", "DescribeStackResources", &[("StackName", "s")]).await.unwrap().text();
    assert!(resources.contains("nodeweir-test-alarm"), "{resources}");
}

/// Of a test that is killed nothing runs on: the kernel closes what it held.
#[tokio::test]
async fn ends_with_its_standard_input() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let tools = std::env::var("NODEWEIR_AWS_TOOLS").unwrap_or_else(|_| format!("{tests}/aws/.venv"));
    let mut child = Command::new(format!("{tools}/bin/python"))
        .arg(format!("{tests}/aws/serve.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// What `stacks.py` adds to moto.
#[tokio::test]
async fn a_stack_keeps_all_of_a_task_definition_and_can_be_changed() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    for (action, memory) in [("CreateStack", "512"), ("UpdateStack", "1024")] {
        let container = json!({"Name": "proxy", "Image": "a:b", "ReadonlyRootFilesystem": true});
        let task = json!({"Family": "proxy", "Memory": memory, "TaskRoleArn": "role", "ContainerDefinitions": [container],
            "RequiresCompatibilities": ["FARGATE"], "RuntimePlatform": {"CpuArchitecture": "ARM64"}});
        let template = json!({"Resources": {
            "Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": task},
            "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Threshold": memory}},
        }});
        let parameters = [("Version", "2010-05-15"), ("StackName", "a"), ("TemplateBody", &template.to_string())];
        let reply = client.form("cloudformation", action, &parameters).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let target = "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition";
        let told = client.json("ecs", target, &json!({"taskDefinition": "proxy"})).await.unwrap().json();
        let task = &told["taskDefinition"];
        assert_eq!((&task["memory"], &task["taskRoleArn"]), (&json!(memory), &json!("role")), "{told}");
        assert_eq!(task["runtimePlatform"]["cpuArchitecture"], "ARM64");
        assert_eq!(task["containerDefinitions"][0]["readonlyRootFilesystem"], true);
    }
}
