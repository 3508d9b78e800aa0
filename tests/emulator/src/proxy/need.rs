//! What a call must be permitted, as IAM has it. For most calls that is the operation itself.

use serde_json::Value;

use super::call::Call;
use super::permission::Permission;

/// The partition key of those tables in which a caller may be confined to some rows. Of others, rows are not told apart.
const PARTITION: &str = "kind";

impl Call {
    /// What its caller must be permitted, all of it. `leading` are the keys of the rows that it is about, where they are
    /// known.
    pub fn needs(&self) -> Vec<Permission> {
        match (self.service.as_str(), self.operation.as_str()) {
            ("dynamodb", "TransactWriteItems") => of_transaction(&self.json()),
            ("dynamodb", "BatchExecuteStatement") => of_statements(&self.json()),
            ("dynamodb", "BatchGetItem" | "BatchWriteItem") => of_batch(&self.operation, &self.json()),
            ("dynamodb", "Query") => of_query(&self.json()),
            ("dynamodb", operation) => {
                let leading = of_rows(&[row(&self.json())]);
                self.resources.iter().map(|table| dynamodb(operation, table, leading.clone())).collect()
            }
            _ => {
                let need = |resource: &String| Permission {
                    action: action(&self.service, &self.operation),
                    resource: resource.clone(),
                    leading: Vec::new(),
                };
                self.resources.iter().map(need).collect()
            }
        }
    }
}

/// IAM's name for an operation, which is the operation's own but for some.
fn action(service: &str, operation: &str) -> String {
    let operation = match (service, operation) {
        ("lambda", "Invoke") => "InvokeFunction",
        ("s3", "HeadObject") => "GetObject",
        ("s3", "ListObjectsV2" | "HeadBucket") => "ListBucket",
        (_, operation) => operation,
    };
    format!("{service}:{operation}")
}

fn dynamodb(operation: &str, resource: &str, leading: Vec<String>) -> Permission {
    Permission { action: format!("dynamodb:{operation}"), resource: resource.to_owned(), leading }
}

/// Each write of a transaction by itself.
fn of_transaction(body: &Value) -> Vec<Permission> {
    let writes = list(&body["TransactItems"]).iter().filter_map(Value::as_object).flatten();
    let need = |(write, what): (&String, &Value)| {
        dynamodb(&format!("{write}Item"), text(&what["TableName"]), of_rows(&[row(what)]))
    };
    writes.map(need).collect()
}

/// Each statement by itself, as the store writes them: the table is the first name, and each value a parameter.
fn of_statements(body: &Value) -> Vec<Permission> {
    let need = |statement: &Value| {
        let words = text(&statement["Statement"]);
        let operation = match words.split(' ').next() {
            Some("INSERT") => "PartiQLInsert",
            Some("UPDATE") => "PartiQLUpdate",
            Some("DELETE") => "PartiQLDelete",
            _ => "PartiQLSelect",
        };
        let key = words.split_once(&format!("\"{PARTITION}\"=?")).map(|(before, _)| {
            let number = before.matches('?').count();
            text(&statement["Parameters"][number]["S"]).to_owned()
        });
        dynamodb(operation, words.split('"').nth(1).unwrap_or_default(), key.into_iter().collect())
    };
    list(&body["Statements"]).iter().map(need).collect()
}

fn of_batch(operation: &str, body: &Value) -> Vec<Permission> {
    let need = |(table, asked): (&String, &Value)| {
        let keys = list(&asked["Keys"]).iter();
        let writes = list(asked).iter().filter_map(Value::as_object).flat_map(|write| write.values()).map(row);
        dynamodb(operation, table, of_rows(&keys.chain(writes).collect::<Vec<_>>()))
    };
    body["RequestItems"].as_object().into_iter().flatten().map(need).collect()
}

/// An index is a resource of its own.
fn of_query(body: &Value) -> Vec<Permission> {
    let table = text(&body["TableName"]);
    let resource = match body["IndexName"].as_str() {
        Some(index) => format!("{table}/index/{index}"),
        None => table.to_owned(),
    };
    // As the store writes it: the partition key comes first.
    let condition = text(&body["KeyConditionExpression"]).split_once(" = ");
    let key = condition.filter(|(name, _)| body["ExpressionAttributeNames"][name] == PARTITION).map(|(_, rest)| {
        let value = rest.split(' ').next().unwrap_or_default();
        text(&body["ExpressionAttributeValues"][value]["S"]).to_owned()
    });
    vec![dynamodb("Query", &resource, key.into_iter().collect())]
}

/// What says which row a read or write is about.
fn row(what: &Value) -> &Value {
    if what["Item"].is_null() { &what["Key"] } else { &what["Item"] }
}

/// The partition keys of rows; none if one of them has none.
fn of_rows(rows: &[&Value]) -> Vec<String> {
    let keys: Option<_> = rows.iter().map(|row| row[PARTITION]["S"].as_str().map(str::to_owned)).collect();
    keys.unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    /// What a call of DynamoDB needs, as `PutItem table of keys`.
    fn needs(operation: &str, body: &Value) -> Vec<String> {
        let call = Call {
            by: "gate".to_owned(),
            service: "dynamodb".to_owned(),
            operation: operation.to_owned(),
            resources: vec!["t".to_owned()],
            body: Bytes::from(body.to_string()),
        };
        call.needs().iter().map(|need| need.to_string().replace("dynamodb:", "")).collect()
    }

    #[test]
    fn a_row_is_known_by_its_partition() {
        let row = json!({"kind": {"S": "sidecar"}, "id": {"S": "a"}});
        for (operation, body) in [("PutItem", json!({"Item": row})), ("DeleteItem", json!({"Key": row}))] {
            assert_eq!(needs(operation, &body), [format!("{operation} t of sidecar")]);
        }
        assert_eq!(needs("PutItem", &json!({"Item": {"network": {"S": "ethereum"}}})), ["PutItem t"]);
        assert_eq!(needs("Scan", &json!({})), ["Scan t"]);
    }

    #[test]
    fn each_write_of_a_transaction_is_a_write() {
        let row = |kind: &str| json!({"kind": {"S": kind}});
        let body = json!({"TransactItems": [
            {"Put": {"TableName": "a", "Item": row("log#1")}},
            {"Update": {"TableName": "b", "Key": {"project": {"S": "shop"}}}},
            {"Delete": {"TableName": "a", "Key": row("log#2")}},
            {"ConditionCheck": {"TableName": "a", "Key": row("log#3")}},
        ]});
        let expected = ["PutItem a of log#1", "UpdateItem b", "DeleteItem a of log#2", "ConditionCheckItem a of log#3"];
        assert_eq!(needs("TransactWriteItems", &body), expected);
    }

    #[test]
    fn each_statement_is_by_itself() {
        let text = |text: &str| json!({"S": text});
        let update = r#"UPDATE "a" SET "value"=? SET "lapses"=? WHERE "kind"=? AND "id"=?"#;
        let body = json!({"Statements": [
            {"Statement": update, "Parameters": [text("v"), text("l"), text("accounts#shop"), text("2026-11")]},
            {"Statement": r#"DELETE FROM "b" WHERE "id"=?"#, "Parameters": [text("2026-11")]},
        ]});
        assert_eq!(needs("BatchExecuteStatement", &body), ["PartiQLUpdate a of accounts#shop", "PartiQLDelete b"]);
    }

    #[test]
    fn a_batch_is_about_all_of_its_rows() {
        let row = |kind: &str| json!({"kind": {"S": kind}});
        let body = json!({"RequestItems": {"a": {"Keys": [row("project"), row("key#1")]}, "b": {"Keys": [{}]}}});
        assert_eq!(needs("BatchGetItem", &body), ["BatchGetItem a of project, key#1", "BatchGetItem b"]);
        let writes = json!([{"PutRequest": {"Item": row("event")}}, {"DeleteRequest": {"Key": row("pin")}}]);
        let body = json!({"RequestItems": {"a": writes}});
        assert_eq!(needs("BatchWriteItem", &body), ["BatchWriteItem a of event, pin"]);
    }

    #[test]
    fn an_index_is_a_resource() {
        let body = |partition: &str| {
            json!({
                "TableName": "a",
                "KeyConditionExpression": "#partition = :partition AND #sort <= :last",
                "ExpressionAttributeNames": {"#partition": partition, "#sort": "id"},
                "ExpressionAttributeValues": {":partition": {"S": "sidecar"}, ":last": {"S": "z"}},
            })
        };
        assert_eq!(needs("Query", &body("kind")), ["Query a of sidecar"]);
        let mut of_index = body("lapsing");
        of_index["IndexName"] = json!("lapsing");
        assert_eq!(needs("Query", &of_index), ["Query a/index/lapsing"]);
    }
}
