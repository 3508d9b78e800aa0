//! A table of the emulator, by plain calls.

use nodeweir_emulator::{Client, Reply};
use serde_json::{Value, json};

/// Makes a table `t` with the key `k`, and a stream.
pub(crate) async fn make(client: &Client) {
    let table = json!({
        "TableName": "t",
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    assert_eq!(call(client, "CreateTable", &table).await.unwrap().status, 200);
}

pub(crate) async fn call(client: &Client, operation: &str, body: &Value) -> std::io::Result<Reply> {
    client.json("dynamodb", &format!("DynamoDB_20120810.{operation}"), body).await
}

pub(crate) async fn put(client: &Client, key: &str) -> std::io::Result<Reply> {
    call(client, "PutItem", &json!({"TableName": "t", "Item": {"k": {"S": key}}})).await
}

/// Puts it if it is not there.
pub(crate) async fn claim(client: &Client, key: &str) -> std::io::Result<Reply> {
    let condition = "attribute_not_exists(k)";
    call(client, "PutItem", &json!({"TableName": "t", "Item": {"k": {"S": key}}, "ConditionExpression": condition}))
        .await
}

/// The keys that are there, in order.
pub(crate) async fn keys(client: &Client) -> Vec<String> {
    let found = call(client, "Scan", &json!({"TableName": "t"})).await.unwrap().json();
    let items = found["Items"].as_array().unwrap().iter();
    let mut keys: Vec<_> = items.map(|item| item["k"]["S"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}
