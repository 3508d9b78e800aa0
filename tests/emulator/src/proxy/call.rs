//! What a request to AWS asks for, read from the wire.

use bytes::Bytes;
use hyper::Request;
use serde_json::Value;

/// One call as it came to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose credentials: the access key's id. A [`Function`](crate::Function) calls with its name.
    pub by: String,
    /// The service as signatures name it: `dynamodb` (for its streams too), `s3`, `ecs`, `secretsmanager`, `lambda`.
    pub service: String,
    /// `PutItem`, `GetObject`, `Invoke`; for rarer calls of services that use paths, method and path.
    pub operation: String,
    /// What it is about: tables, `bucket/key`, the ECS service, the secret, the function. Empty where that is not known.
    pub resources: Vec<String>,
    /// What was sent.
    pub body: Bytes,
}

/// How a service tells of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// JSON, and the error's code in it.
    Json,
    /// JSON, and the error's code in a header.
    RestJson,
    /// XML of S3.
    S3,
    /// XML of the services with forms.
    Query,
}

impl Call {
    pub(super) fn read(request: &Request<Bytes>) -> Self {
        let (head, body) = (request_head(request), request.body());
        let (by, mut service) = credentials(head.authorization);
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let method = request.method().as_str();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let operation = if let Some((prefix, operation)) = head.target.and_then(|target| target.rsplit_once('.')) {
            if service.is_empty() {
                service = prefix.split('_').next().unwrap_or(prefix).to_lowercase();
            }
            operation.to_owned()
        } else if let Some(operation) = form_action(body).filter(|_| head.is_form) {
            operation
        } else if let Some((_, operation)) = path.split_once("/operation/") {
            operation.to_owned()
        } else if service == "s3" {
            s3(method, path, query)
        } else if service == "lambda" && invoked(path).is_some() {
            "Invoke".to_owned()
        } else {
            format!("{method} {path}")
        };
        let resources = match service.as_str() {
            "dynamodb" => tables(&json),
            "s3" => vec![path.trim_matches('/').to_owned()],
            "lambda" => invoked(path).into_iter().collect(),
            "ecs" => texts(&json, &["service", "services"]),
            "secretsmanager" => texts(&json, &["SecretId"]),
            _ => Vec::new(),
        };
        Self { by, service, operation, resources, body: body.clone() }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.service.as_str() {
            "s3" => Protocol::S3,
            "lambda" | "scheduler" => Protocol::RestJson,
            "cloudformation" | "sts" | "iam" | "sns" | "elasticloadbalancing" | "ec2" | "monitoring" => Protocol::Query,
            _ => Protocol::Json,
        }
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

struct Head<'a> {
    authorization: &'a str,
    target: Option<&'a str>,
    is_form: bool,
}

fn request_head(request: &Request<Bytes>) -> Head<'_> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    Head {
        authorization: text("authorization").unwrap_or_default(),
        target: text("x-amz-target"),
        is_form: text("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")),
    }
}

/// Caller and service from `… Credential=CALLER/DAY/REGION/SERVICE/aws4_request, …`.
fn credentials(authorization: &str) -> (String, String) {
    let scope = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    let mut parts = scope.split([',', '/']);
    let by = parts.next().unwrap_or_default().to_owned();
    (by, parts.nth(2).unwrap_or_default().to_owned())
}

fn form_action(body: &Bytes) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned)
}

/// S3 has no names on the wire, unless the SDK adds one for the convenience of logs.
fn s3(method: &str, path: &str, query: &str) -> String {
    if let Some(name) = query.split('&').find_map(|pair| pair.strip_prefix("x-id=")) {
        return name.to_owned();
    }
    let is_object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let is_listing = query.split('&').any(|pair| pair == "list-type=2");
    match (method, is_object) {
        ("GET", false) if is_listing => "ListObjectsV2".to_owned(),
        _ if !query.is_empty() => format!("{method} {path}?{query}"),
        ("GET", true) => "GetObject".to_owned(),
        ("HEAD", true) => "HeadObject".to_owned(),
        ("PUT", true) => "PutObject".to_owned(),
        ("DELETE", true) => "DeleteObject".to_owned(),
        ("PUT", false) => "CreateBucket".to_owned(),
        ("HEAD", false) => "HeadBucket".to_owned(),
        _ => format!("{method} {path}"),
    }
}

/// The name in `/2015-03-31/functions/NAME/invocations`, where an ARN may stand in its place.
pub(super) fn invoked(path: &str) -> Option<String> {
    let name = path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
    let name = name.replace("%3A", ":").replace("%3a", ":");
    let after = name.rsplit_once("function:").map_or(name.as_str(), |(_, rest)| rest);
    after.split(':').next().map(str::to_owned)
}

/// Tables of any call of `DynamoDB`, each once.
fn tables(body: &Value) -> Vec<String> {
    let mut found = texts(body, &["TableName"]);
    found.extend(body["RequestItems"].as_object().into_iter().flat_map(|items| items.keys().cloned()));
    for item in body["TransactItems"].as_array().into_iter().flatten() {
        found.extend(
            item.as_object().into_iter().flat_map(|parts| parts.values()).flat_map(|part| texts(part, &["TableName"])),
        );
    }
    // As the store writes them: the table is the first name.
    let statements = body["Statements"].as_array().into_iter().flatten();
    let statements = statements.flat_map(|statement| texts(statement, &["Statement"]));
    found.extend(statements.filter_map(|statement| Some(statement.split('"').nth(1)?.to_owned())));
    found.sort();
    found.dedup();
    found
}

/// Texts and lists of texts under any of the names.
fn texts(body: &Value, names: &[&str]) -> Vec<String> {
    let found = names.iter().flat_map(|name| match &body[*name] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    found.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Service, operation, resources.
    fn read(
        method: &str,
        path: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (String, String, Vec<String>) {
        let scope =
            format!("AWS4-HMAC-SHA256 Credential=probe/20260101/eu-central-1/{service}/aws4_request, Signature=x");
        let mut request = Request::builder().method(method).uri(path).header("authorization", scope);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let call = Call::read(&request.body(Bytes::from(body.to_owned())).unwrap());
        assert_eq!(call.by, "probe");
        (call.service, call.operation, call.resources)
    }

    fn expected(service: &str, operation: &str, resources: &[&str]) -> (String, String, Vec<String>) {
        (service.to_owned(), operation.to_owned(), resources.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn names_calls_of_every_protocol() {
        let json = |target, service, body| read("POST", "/", service, &[("x-amz-target", target)], body);
        assert_eq!(
            json("DynamoDB_20120810.PutItem", "dynamodb", r#"{"TableName":"nodes","Item":{}}"#),
            expected("dynamodb", "PutItem", &["nodes"])
        );
        assert_eq!(
            json("DynamoDB_20120810.BatchWriteItem", "dynamodb", r#"{"RequestItems":{"b":[],"a":[]}}"#),
            expected("dynamodb", "BatchWriteItem", &["a", "b"])
        );
        let both = r#"{"TransactItems":[{"Put":{"TableName":"b"}},{"ConditionCheck":{"TableName":"a"}},{"Delete":{"TableName":"a"}}]}"#;
        assert_eq!(
            json("DynamoDB_20120810.TransactWriteItems", "dynamodb", both),
            expected("dynamodb", "TransactWriteItems", &["a", "b"])
        );
        assert_eq!(
            json("AmazonEC2ContainerServiceV20141113.DescribeServices", "ecs", r#"{"cluster":"c","services":["s"]}"#),
            expected("ecs", "DescribeServices", &["s"])
        );
        assert_eq!(
            json("secretsmanager.GetSecretValue", "secretsmanager", r#"{"SecretId":"arn"}"#),
            expected("secretsmanager", "GetSecretValue", &["arn"])
        );
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        assert_eq!(
            read("POST", "/", "cloudformation", &form, "Action=DescribeStacks&Version=2010-05-15"),
            expected("cloudformation", "DescribeStacks", &[])
        );
        let function = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Aprobe%3Alive/invocations";
        assert_eq!(read("POST", function, "lambda", &[], "{}"), expected("lambda", "Invoke", &["probe"]));
        assert_eq!(
            read("POST", "/2015-03-31/functions/probe/invocations", "lambda", &[], "{}"),
            expected("lambda", "Invoke", &["probe"])
        );
        assert_eq!(
            read("POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "monitoring", &[], ""),
            expected("monitoring", "PutMetricData", &[])
        );
    }

    #[test]
    fn names_calls_of_s3_by_what_they_do() {
        for (method, path, operation, resource) in [
            ("GET", "/b/revision.conf?x-id=GetObject", "GetObject", "b/revision.conf"),
            ("PUT", "/b/revision.conf?x-id=PutObject", "PutObject", "b/revision.conf"),
            ("HEAD", "/b/a/c", "HeadObject", "b/a/c"),
            ("DELETE", "/b/k", "DeleteObject", "b/k"),
            ("GET", "/b/?list-type=2&prefix=x", "ListObjectsV2", "b"),
            ("PUT", "/b", "CreateBucket", "b"),
            ("PUT", "/b?versioning", "PUT /b?versioning", "b"),
        ] {
            assert_eq!(read(method, path, "s3", &[], ""), expected("s3", operation, &[resource]), "{method} {path}");
        }
    }
}
