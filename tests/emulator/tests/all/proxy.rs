//! Each fault does what its name says, no more and no less.

use std::time::Duration;

use nodeweir_emulator::events::deployment_in_progress;
use nodeweir_emulator::{Answer, Fault, FunctionError, Moto, On, Permission, Proxy};
use serde_json::json;

use crate::table;

async fn with_table() -> Proxy {
    let aws = Proxy::start(Moto::shared());
    table::make(&aws.client()).await;
    aws.forget();
    aws
}

/// For each way to fail: what the caller sees, and whether it was done all the same.
#[tokio::test]
async fn a_call_fails_in_each_way() {
    for fault in Fault::FAILURES {
        let aws = with_table().await;
        aws.fault(On::call("dynamodb", "PutItem").nth(1), fault.clone());
        for key in ["a", "b", "c"] {
            let answer = table::put(&aws.client(), key).await;
            let seen = answer.as_ref().map_or(0, |reply| reply.status);
            let expected = match (key, &fault) {
                ("b", Fault::Refused | Fault::Lost) => 0,
                ("b", Fault::Failed | Fault::FailedAfter) => 500,
                ("b", Fault::Throttled) => 400,
                _ => 200,
            };
            assert_eq!(seen, expected, "{key} {fault:?}");
            if let (400, Ok(reply)) = (seen, answer) {
                let kind = reply.json()["__type"].clone();
                assert!(kind.as_str().unwrap().ends_with("#ProvisionedThroughputExceededException"), "{kind}");
            }
        }
        let expected = match fault {
            Fault::Lost | Fault::FailedAfter => vec!["a", "b", "c"],
            _ => vec!["a", "c"],
        };
        assert_eq!(table::keys(&aws.client()).await, expected, "{fault:?}");
        assert_eq!(aws.count(&On::call("dynamodb", "PutItem")), 3);
    }
}

/// A crash at call n: what it wrote is written, and nothing comes after.
#[tokio::test]
async fn everything_fails_from_a_call_on_until_it_is_healed() {
    let aws = with_table().await;
    aws.fault(On::any().nth(1), Fault::Lost);
    aws.fault(On::any().from(2), Fault::Refused);
    for (key, is_answered) in [("a", true), ("b", false), ("c", false), ("d", false)] {
        assert_eq!(table::put(&aws.client(), key).await.is_ok(), is_answered, "{key}");
    }
    aws.forget();
    assert!(table::put(&aws.client(), "e").await.is_ok(), "calls count from 0 again");
    aws.heal();
    assert_eq!(table::keys(&aws.client()).await, ["a", "b", "e"]);
}

#[tokio::test]
async fn calls_are_known_by_caller_and_resource() {
    let aws = with_table().await;
    let probe = aws.client().as_caller("probe");
    aws.fault(On::call("dynamodb", "PutItem").by("probe"), Fault::Throttled);
    assert_eq!(table::put(&probe, "a").await.unwrap().status, 400);
    assert_eq!(table::put(&aws.client(), "a").await.unwrap().status, 200);
    assert_eq!(aws.count(&On::service("dynamodb").by("probe")), 1);
    assert_eq!(aws.count(&On::any().about("t")), 2);
    assert_eq!(aws.count(&On::any().about("other")), 0);
    let call = &aws.calls()[0];
    assert_eq!(
        (call.by.as_str(), call.operation.as_str(), &call.resources),
        ("probe", "PutItem", &vec!["t".to_owned()])
    );
    assert_eq!(call.json()["Item"]["k"]["S"], "a");
}

#[tokio::test]
async fn errors_are_written_as_each_service_does() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    aws.fault(On::call("s3", "PutObject"), Fault::Instead(Answer::error(409, "ConditionalRequestConflict")));
    let put = client.send("s3", "PUT", "/b/k", &[], "x").await.unwrap();
    assert_eq!(put.status, 409);
    assert!(put.text().starts_with("<Error><Code>ConditionalRequestConflict</Code>"), "{}", put.text());

    aws.fault(On::service("s3"), Fault::Throttled);
    let get = client.send("s3", "GET", "/b/k", &[], "").await.unwrap();
    assert_eq!((get.status, get.text().contains("<Code>SlowDown</Code>")), (503, true));
    let head = client.send("s3", "HEAD", "/b/k", &[], "").await.unwrap();
    assert_eq!((head.status, head.body.len()), (503, 0));

    aws.fault(On::any(), Fault::Throttled);
    let form = client.form("cloudformation", "DescribeStacks", &[]).await.unwrap();
    assert_eq!((form.status, form.text().contains("<Code>Throttling</Code>")), (400, true));
    let rest = client.send("lambda", "POST", "/2015-03-31/functions/f/invocations", &[], "{}").await.unwrap();
    assert_eq!((rest.status, rest.header("x-amzn-errortype")), (429, Some("TooManyRequestsException")));
}

/// Two runs in the order that a test wants, without waiting for luck.
#[tokio::test]
async fn a_held_call_goes_on_when_it_is_released() {
    let aws = with_table().await;
    let held = aws.hold(On::call("dynamodb", "PutItem").first(1));
    let client = aws.client();
    let slow = tokio::spawn(async move { table::claim(&client, "a").await.unwrap().status });
    held.arrived(1).await;
    assert_eq!(table::claim(&aws.client(), "a").await.unwrap().status, 200);
    held.release();
    assert_eq!(slow.await.unwrap(), 400, "it came second");
}

#[tokio::test]
async fn a_late_call_is_done_late() {
    let aws = with_table().await;
    let late = Duration::from_millis(50);
    aws.fault(On::any().first(1), Fault::Late(late));
    let begun = std::time::Instant::now();
    assert_eq!(table::put(&aws.client(), "a").await.unwrap().status, 200);
    assert!(begun.elapsed() >= late);
}

#[tokio::test]
async fn a_batch_is_done_in_part() {
    let aws = with_table().await;
    let put = |key: &str| json!({"PutRequest": {"Item": {"k": {"S": key}}}});
    let batch = json!({"RequestItems": {"t": [put("a"), put("b"), put("c")]}});
    aws.fault(On::call("dynamodb", "BatchWriteItem").nth(0), Fault::Unprocessed(2));
    aws.fault(On::call("dynamodb", "BatchWriteItem").nth(1), Fault::Unprocessed(0));
    let answer = table::call(&aws.client(), "BatchWriteItem", &batch).await.unwrap().json();
    assert_eq!(answer, json!({"UnprocessedItems": {"t": [put("c")]}}));
    assert_eq!(table::keys(&aws.client()).await, ["a", "b"]);
    let rest = json!({"RequestItems": answer["UnprocessedItems"]});
    let answer = table::call(&aws.client(), "BatchWriteItem", &rest).await.unwrap().json();
    assert_eq!(answer, json!({"UnprocessedItems": {"t": [put("c")]}}));
    let answer = table::call(&aws.client(), "BatchWriteItem", &rest).await.unwrap().json();
    assert_eq!(answer["UnprocessedItems"], json!({}));
    assert_eq!(table::keys(&aws.client()).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_deployment_is_in_progress_for_as_long_as_the_test_wants() {
    let aws = Proxy::start(Moto::shared());
    let client = aws.client();
    let ecs = async |operation: &str, body: serde_json::Value| {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        client.json("ecs", &target, &body).await.unwrap().json()
    };
    ecs("CreateCluster", json!({"clusterName": "main"})).await;
    let container = json!([{"name": "proxy", "image": "x", "memory": 64}]);
    ecs("RegisterTaskDefinition", json!({"family": "proxy", "containerDefinitions": container})).await;
    let service = json!({"cluster": "main", "serviceName": "proxy", "taskDefinition": "proxy", "desiredCount": 2});
    ecs("CreateService", service).await;
    let described = async || {
        let found = ecs("DescribeServices", json!({"cluster": "main", "services": ["proxy"]})).await;
        found["services"][0]["deployments"].clone()
    };
    let alone = described().await;
    assert_eq!((alone.as_array().unwrap().len(), &alone[0]["rolloutState"]), (1, &json!("COMPLETED")));
    aws.fault(On::call("ecs", "DescribeServices").about("proxy"), Fault::changed(deployment_in_progress));
    let busy = described().await;
    assert_eq!((busy.as_array().unwrap().len(), &busy[0]["rolloutState"]), (2, &json!("IN_PROGRESS")));
    assert_eq!(busy[0]["id"], alone[0]["id"]);
    aws.heal();
    assert_eq!(described().await, alone);
    ecs("UpdateService", json!({"cluster": "main", "service": "proxy", "forceNewDeployment": true})).await;
    assert_ne!(described().await[0]["id"], alone[0]["id"]);
}

#[tokio::test]
async fn a_function_is_run_by_the_test() {
    let aws = Proxy::start(Moto::shared());
    aws.on_invoke("probe", async |payload| match payload["networks"][0].as_str() {
        Some(network) => Ok(json!({ "probed": network })),
        None => Err(FunctionError::new("NoNetwork", "which one?")),
    });
    let client = aws.client();
    let invoke = async |name: &str, headers: &[(&str, &str)], payload: &'static str| {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        client.send("lambda", "POST", &path, headers, payload).await.unwrap()
    };
    let answer = invoke("probe", &[], r#"{"networks":["ethereum"]}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"probed": "ethereum"})));
    assert_eq!(answer.header("x-amz-function-error"), None);

    let arn = "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Aprobe";
    let answer = invoke(arn, &[], "{}").await;
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, Some("Unhandled")));
    assert_eq!(answer.json(), json!({"errorType": "NoNetwork", "errorMessage": "which one?"}));

    assert_eq!(invoke("probe", &[("x-amz-invocation-type", "Event")], "{}").await.status, 202);
    let missing = invoke("other", &[], "{}").await;
    assert_eq!((missing.status, missing.header("x-amzn-errortype")), (404, Some("ResourceNotFoundException")));
    assert_eq!(aws.count(&On::call("lambda", "Invoke").about("probe")), 3);
}

#[tokio::test]
async fn a_caller_may_do_what_it_was_permitted() {
    let aws = with_table().await;
    let permission = |action: &str, resource: &str| Permission {
        action: action.to_owned(),
        resource: resource.to_owned(),
        leading: Vec::new(),
    };
    let [put, scan, other] =
        [("dynamodb:PutItem", "t"), ("dynamodb:Scan", "t"), ("dynamodb:PutItem", "u")].map(|(a, r)| permission(a, r));
    aws.permit("probe", [put, scan.clone(), other.clone()]);
    let probe = aws.client().as_caller("probe");
    assert_eq!(table::put(&probe, "a").await.unwrap().status, 200);
    let denied = table::call(&probe, "GetItem", &json!({"TableName": "t", "Key": {"k": {"S": "a"}}})).await.unwrap();
    assert_eq!(denied.status, 400);
    assert!(denied.text().contains("AccessDeniedException"), "{}", denied.text());
    assert_eq!(aws.unused("probe"), [other, scan]);
    assert_eq!(table::keys(&aws.client()).await, ["a"], "others may do all");
}

/// IAM looks at each write of a transaction and at each statement by itself, and may look at what rows they are about.
#[tokio::test]
async fn a_caller_may_be_confined_to_some_rows() {
    let aws = Proxy::start(Moto::shared());
    let table = json!({
        "TableName": "t",
        "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "kind", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    assert_eq!(table::call(&aws.client(), "CreateTable", &table).await.unwrap().status, 200);
    let put = |leading: &[&str]| Permission {
        action: "dynamodb:PutItem".to_owned(),
        resource: "t".to_owned(),
        leading: leading.iter().map(|&key| key.to_owned()).collect(),
    };
    aws.permit("gate", [put(&["log#*", "usage", "never#*"])]);
    let gate = aws.client().as_caller("gate");
    let item = |kind: &str| json!({"TableName": "t", "Item": {"kind": {"S": kind}}});
    for (kind, status) in [("log#a", 200), ("usage", 200), ("usages", 400), ("log", 400), ("key#a", 400)] {
        assert_eq!(table::call(&gate, "PutItem", &item(kind)).await.unwrap().status, status, "{kind}");
        let both = json!({"TransactItems": [{"Put": item("log#b")}, {"Put": item(kind)}]});
        assert_eq!(table::call(&gate, "TransactWriteItems", &both).await.unwrap().status, status, "{kind}");
    }
    let gone = json!({"TransactItems": [{"Delete": {"TableName": "t", "Key": {"kind": {"S": "log#a"}}}}]});
    assert_eq!(table::call(&gate, "TransactWriteItems", &gone).await.unwrap().status, 400);
    let unknown = json!({"TableName": "t", "Item": {"k": {"S": "log#a"}}});
    let denied = table::call(&gate, "PutItem", &unknown).await.unwrap();
    assert!(denied.text().contains("AccessDeniedException"), "{}", denied.text());
    assert_eq!(aws.unused("gate"), [put(&["never#*"])]);
}
