//! Events, as far as they are looked at.

use std::collections::BTreeSet;

use nodeweir_domain::name::NetworkId;
use serde::Deserialize;
use serde_json::{Value, json};

/// What calls `probe`: the schedule with nothing, or `publish` with networks that must be looked at now.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ProbeEvent {
    /// Which networks; all if left out.
    pub(crate) networks: Option<BTreeSet<NetworkId>>,
}

/// What calls `publish`: the schedule with nothing, or a batch of a table's stream.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamEvent {
    #[serde(default, rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(rename = "eventSourceARN")]
    source: String,
    dynamodb: Change,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Change {
    #[serde(rename = "SequenceNumber")]
    sequence: String,
}

impl StreamEvent {
    /// Whether this is a batch, and not the schedule.
    pub(crate) fn is_batch(&self) -> bool {
        !self.records.is_empty()
    }

    /// Whether somebody changed this table.
    pub(crate) fn is_about(&self, table: &str) -> bool {
        // arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/TIME
        self.records.iter().any(|record| record.source.split('/').nth(1) == Some(table))
    }

    /// The answer that has the whole batch sent again: a run looks at everything, so none of it is done.
    pub(crate) fn again(&self) -> Value {
        let first = self.records.first().map_or("", |record| &record.dynamodb.sequence);
        json!({"batchItemFailures": [{"itemIdentifier": first}]})
    }

    /// The answer that all of it is done.
    pub(crate) fn done() -> Value {
        json!({"batchItemFailures": []})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_its_table_and_is_sent_again_from_its_first_record() {
        let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/nodeweir-dev-Nodes/stream/2026-11-21T00:00:00.000";
        let event = json!({"Records": [
            {"eventID": "1", "eventName": "MODIFY", "eventSourceARN": arn, "dynamodb": {"SequenceNumber": "111", "Keys": {}}},
            {"eventID": "2", "eventName": "REMOVE", "eventSourceARN": arn, "dynamodb": {"SequenceNumber": "222"}},
        ]});
        let event: StreamEvent = serde_json::from_value(event).unwrap();
        assert!(event.is_batch() && event.is_about("nodeweir-dev-Nodes") && !event.is_about("nodeweir-dev-Health"));
        assert_eq!(event.again(), json!({"batchItemFailures": [{"itemIdentifier": "111"}]}));
    }

    #[test]
    fn the_schedule_s_event_is_no_batch_whatever_it_holds() {
        for event in [json!({}), json!({"detail": {}, "Records": []}), json!({"time": "2026-11-21T00:00:00Z"})] {
            assert!(!serde_json::from_value::<StreamEvent>(event.clone()).unwrap().is_batch());
            assert_eq!(serde_json::from_value::<ProbeEvent>(event).unwrap().networks, None);
        }
        let some: ProbeEvent = serde_json::from_value(json!({"networks": ["ethereum"]})).unwrap();
        assert_eq!(some.networks.unwrap().len(), 1);
        assert!(serde_json::from_value::<ProbeEvent>(json!({"networks": ["No Name"]})).is_err());
    }
}
