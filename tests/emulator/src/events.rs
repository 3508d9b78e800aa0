//! What AWS would send between its services, in its shapes; and whether a rule or a mapping lets it through. The emulator
//! sends nothing by itself: a test carries.

use serde_json::{Value, json};

/// Where something happened.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// 12 digits.
    pub account: &'a str,
    /// The region's short name.
    pub region: &'a str,
    /// When, as `2026-01-01T00:00:00Z`.
    pub time: &'a str,
}

impl Place<'_> {
    /// The envelope that all events of `EventBridge` have.
    fn event(&self, source: &str, kind: &str, resource: &str, detail: &Value) -> Value {
        json!({
            "version": "0",
            "id": "00000000-0000-4000-8000-000000000000",
            "detail-type": kind,
            "source": source,
            "account": self.account,
            "time": self.time,
            "region": self.region,
            "resources": [resource],
            "detail": detail,
        })
    }

    /// What a schedule sends, unless it was given another input.
    pub fn scheduled(&self) -> Value {
        let mut event = self.event("aws.scheduler", "Scheduled Event", "", &json!({}));
        event["resources"] = json!([]);
        event
    }

    /// `Object Created`, as S3 sends it by `EventBridge`. The `ETag` may have its quotes; the event has none.
    pub fn object_created(&self, bucket: &str, key: &str, etag: &str, size: usize) -> Value {
        let detail = json!({
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": size, "etag": etag.trim_matches('"'), "sequencer": "0061A0E8A4B2C9D1E7"},
            "request-id": "0000000000000000",
            "requester": self.account,
            "source-ip-address": "10.0.0.1",
            "reason": "PutObject",
        });
        self.event("aws.s3", "Object Created", &format!("arn:aws:s3:::{bucket}"), &detail)
    }

    /// `ECS Deployment State Change`; `name` is `SERVICE_DEPLOYMENT_IN_PROGRESS`, `…_COMPLETED` or `…_FAILED`.
    pub fn deployment_changed(&self, service_arn: &str, deployment: &str, name: &str) -> Value {
        let kind = if name.ends_with("FAILED") { "ERROR" } else { "INFO" };
        let detail = json!({
            "eventType": kind,
            "eventName": name,
            "deploymentId": deployment,
            "updatedAt": self.time,
            "reason": format!("ECS deployment {deployment}: {name}"),
        });
        self.event("aws.ecs", "ECS Deployment State Change", service_arn, &detail)
    }
}

/// What Lambda gives a function for a batch of a table's stream: each record with the stream's ARN.
pub fn stream_batch(stream_arn: &str, records: &[Value]) -> Value {
    let region = stream_arn.split(':').nth(3).unwrap_or_default();
    let records = records.iter().map(|record| {
        let mut record = record.clone();
        record["eventSourceARN"] = stream_arn.into();
        record["awsRegion"] = region.into();
        record
    });
    json!({"Records": records.collect::<Vec<_>>()})
}

/// Makes an answer of `DescribeServices` say that a deployment has begun and the one before still runs beside it: for
/// [`Fault::changed`](crate::Fault::changed), because the emulator's have always finished.
pub fn deployment_in_progress(answer: &mut Value) {
    for service in answer["services"].as_array_mut().into_iter().flatten() {
        let Some(deployments) = service["deployments"].as_array_mut() else { continue };
        let Some(newest) = deployments.first_mut() else { continue };
        let mut before = newest.clone();
        before["id"] = "ecs-svc/0000000000000000001".into();
        before["status"] = "ACTIVE".into();
        newest["rolloutState"] = "IN_PROGRESS".into();
        newest["rolloutStateReason"] = "ECS deployment in progress.".into();
        newest["pendingCount"] = newest["desiredCount"].clone();
        newest["runningCount"] = 0.into();
        deployments.truncate(1);
        deployments.push(before);
    }
}

/// Whether an event fits a pattern of an `EventBridge` rule or of a mapping's filter: objects are looked into, a list is of
/// what is allowed. Ends the test at an operator that it does not know, because a guess would prove nothing.
pub fn fits(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, inner)| fits(inner, &event[name])),
        Value::Array(allowed) => match event {
            Value::Array(values) => values.iter().any(|value| allowed.iter().any(|one| is_allowed(one, value))),
            value => allowed.iter().any(|one| is_allowed(one, value)),
        },
        other => panic!("a pattern has no {other} outside of a list"),
    }
}

fn is_allowed(one: &Value, value: &Value) -> bool {
    let Some(operators) = one.as_object() else { return one == value };
    operators.iter().all(|(operator, operand)| match (operator.as_str(), operand) {
        ("prefix", Value::String(prefix)) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
        ("suffix", Value::String(suffix)) => value.as_str().is_some_and(|text| text.ends_with(suffix)),
        ("exists", Value::Bool(exists)) => value.is_null() != *exists,
        ("anything-but", Value::Array(others)) => !others.contains(value),
        ("anything-but", other) if !other.is_object() => other != value,
        _ => panic!("the operator {operator} of a pattern is not known here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_through_what_a_pattern_allows() {
        let place = Place { account: "123456789012", region: "eu-central-1", time: "2026-01-01T00:00:00Z" };
        let event = place.object_created("b", "revision.conf", "\"0f\"", 5);
        assert_eq!(event["detail"]["object"]["etag"], "0f");
        let rule = |bucket: &str, key: Value| {
            json!({"source": ["aws.s3"], "detail-type": ["Object Created"],
                   "detail": {"bucket": {"name": [bucket]}, "object": {"key": [key]}}})
        };
        assert!(fits(&rule("b", "revision.conf".into()), &event));
        assert!(fits(&rule("b", json!({"prefix": "rev"})), &event));
        assert!(!fits(&rule("b", json!({"suffix": "rev"})), &event));
        assert!(!fits(&rule("other", "revision.conf".into()), &event));
        assert!(!fits(&rule("b", json!({"anything-but": ["revision.conf"]})), &event));
        assert!(fits(&json!({"detail": {"nothing": [{"exists": false}]}}), &event));
        assert!(!fits(&json!({"detail": {"reason": [{"exists": false}]}}), &event));
    }

    #[test]
    #[should_panic(expected = "the operator wildcard")]
    fn guesses_nothing() {
        fits(&json!({"source": [{"wildcard": "*"}]}), &json!({"source": "x"}));
    }

    #[test]
    fn makes_a_deployment_be_in_progress() {
        let before = json!({"id": "ecs-svc/9", "status": "PRIMARY", "rolloutState": "COMPLETED", "desiredCount": 2,
                            "runningCount": 2, "pendingCount": 0});
        let mut answer = json!({"services": [{"deployments": [before]}]});
        deployment_in_progress(&mut answer);
        let deployments = &answer["services"][0]["deployments"];
        assert_eq!(
            (&deployments[0]["id"], &deployments[0]["rolloutState"]),
            (&json!("ecs-svc/9"), &json!("IN_PROGRESS"))
        );
        assert_eq!(
            (&deployments[1]["status"], &deployments[1]["rolloutState"]),
            (&json!("ACTIVE"), &json!("COMPLETED"))
        );
    }
}
