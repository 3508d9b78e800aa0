//! A table's stream, read as Lambda reads it.

use serde_json::{Value, json};

use crate::client::Client;

/// A reader of the stream of one table.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    arn: String,
    iterator: String,
}

impl Stream {
    /// From the table's first change on.
    pub async fn of_table(client: &Client, table: &str) -> Self {
        let asked = json!({"TableName": table});
        let described = client.json("dynamodb", "DynamoDB_20120810.DescribeTable", &asked).await;
        let described = described.expect("the emulator answers").json();
        let arn = described["Table"]["LatestStreamArn"].as_str();
        let arn = arn.unwrap_or_else(|| panic!("{table} has no stream: {described}")).to_owned();
        let shards = call(client, "DescribeStream", &json!({"StreamArn": arn})).await;
        // The emulator has one.
        let shard = &shards["StreamDescription"]["Shards"][0]["ShardId"];
        let from = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = text(&call(client, "GetShardIterator", &from).await["ShardIterator"]);
        Self { client: client.clone(), arn, iterator }
    }

    /// The stream's ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// What has changed since the last look, in order, as `GetRecords` has it. A batch for a function is made of it by
    /// [`stream_batch`](crate::events::stream_batch).
    pub async fn new_records(&mut self) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let mut page = call(&self.client, "GetRecords", &json!({"ShardIterator": self.iterator})).await;
            self.iterator = text(&page["NextShardIterator"]);
            match page["Records"].take() {
                Value::Array(records) if !records.is_empty() => found.extend(records),
                _ => return found,
            }
        }
    }
}

async fn call(client: &Client, operation: &str, body: &Value) -> Value {
    let target = format!("DynamoDBStreams_20120810.{operation}");
    let reply = client.json("dynamodb", &target, body).await.expect("the emulator answers");
    assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
    reply.json()
}

fn text(value: &Value) -> String {
    value.as_str().expect("the emulator gives iterators").to_owned()
}
