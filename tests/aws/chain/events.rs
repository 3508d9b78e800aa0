//! Events as AWS writes them, and the patterns that choose among them.

use serde_json::{Value, json};

/// A record of a table's stream, as Lambda hands it over.
pub(crate) fn stream_record(record: &Value, stream: &str) -> Value {
    json!({
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": record["dynamodb"],
        "eventSourceARN": stream,
    })
}

fn envelope(account: &str, source: &str, kind: &str, resources: &Value, detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": "2026-11-21T12:00:00Z",
        "region": "eu-central-1",
        "resources": resources,
        "detail": detail,
    })
}

pub(crate) fn scheduled(account: &str) -> Value {
    envelope(account, "aws.scheduler", "Scheduled Event", &json!([]), &json!({}))
}

pub(crate) fn object_created(account: &str, bucket: &str, key: &str, etag: &str) -> Value {
    let detail = json!({
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": 1, "etag": etag, "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"},
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": account,
        "reason": "PutObject",
    });
    envelope(account, "aws.s3", "Object Created", &json!([format!("arn:aws:s3:::{bucket}")]), &detail)
}

pub(crate) fn deployment_changed(account: &str, service: &str, deployment: &str, name: &str) -> Value {
    let detail = json!({
        "eventType": "INFO",
        "eventName": name,
        "deploymentId": deployment,
        "updatedAt": "2026-11-21T12:00:00Z",
        "reason": "ECS deployment completed.",
    });
    envelope(account, "aws.ecs", "ECS Deployment State Change", &json!([service]), &detail)
}

/// Whether an event fits a pattern: lists of allowed values, and `prefix`, as far as the template uses them.
pub(crate) fn fits(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(pattern) => pattern.iter().all(|(key, pattern)| fits(pattern, &event[key])),
        Value::Array(allowed) => {
            let values = event.as_array().cloned().unwrap_or_else(|| vec![event.clone()]);
            values.iter().any(|value| allowed.iter().any(|allowed| is_allowed(allowed, value)))
        }
        other => panic!("a pattern is made of mappings and lists, not {other}"),
    }
}

fn is_allowed(allowed: &Value, value: &Value) -> bool {
    match allowed.as_object() {
        None => allowed == value,
        Some(by) => match by["prefix"].as_str() {
            Some(prefix) => value.as_str().is_some_and(|value| value.starts_with(prefix)),
            None => panic!("the harness does not know the pattern {allowed}"),
        },
    }
}
