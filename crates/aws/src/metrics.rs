//! Metrics in CloudWatch's embedded metric format: lines of JSON in the log, which CloudWatch makes metrics of.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Nodes and networks go by their short names, never by an address.

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

const NAMESPACE: &str = "Nodeweir";

/// Units, as CloudWatch calls them.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Things, or one and nothing.
    Count,
    /// Whole ones.
    Seconds,
    /// Whole ones.
    Milliseconds,
    /// A block number.
    None,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::Milliseconds => "Milliseconds",
            Self::None => "None",
        }
    }
}

/// One line: values that share their dimensions.
#[derive(Debug, Clone)]
pub struct Line {
    dimensions: Vec<&'static str>,
    metrics: Vec<Value>,
    fields: Map<String, Value>,
}

impl Line {
    /// A line about this stage, narrowed by more dimensions.
    pub fn about(stage: &str, more: &[(&'static str, &str)]) -> Self {
        let all = std::iter::once(("Stage", stage)).chain(more.iter().copied());
        let (mut dimensions, mut fields) = (Vec::new(), Map::new());
        for (name, value) in all {
            dimensions.push(name);
            fields.insert(name.to_owned(), Value::from(value));
        }
        Self { dimensions, metrics: Vec::new(), fields }
    }

    /// Adds a value.
    pub fn put(&mut self, name: &'static str, unit: Unit, value: u64) -> &mut Self {
        self.metrics.push(json!({"Name": name, "Unit": unit.name()}));
        self.fields.insert(name.to_owned(), Value::from(value));
        self
    }

    /// Adds a value that is one or nothing.
    pub fn put_if(&mut self, name: &'static str, is: bool) -> &mut Self {
        self.put(name, Unit::Count, u64::from(is))
    }

    /// A value that was added.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(Value::as_u64)
    }

    /// The names of its metrics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().filter_map(|metric| metric.get("Name")?.as_str())
    }

    /// Adds what is no metric, for people who search the log.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn metric(&self, now: Timestamp) -> Value {
        let mut line = self.fields.clone();
        let directive = json!({"Namespace": NAMESPACE, "Dimensions": [self.dimensions], "Metrics": self.metrics});
        line.insert("_aws".to_owned(), json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]}));
        Value::Object(line)
    }

    /// Prints it as metrics.
    pub fn print(&self, now: Timestamp) {
        print(&self.metric(now));
    }

    /// Prints it as fields of the log only, which cost no metric.
    pub fn print_fields(&self) {
        print(&Value::Object(self.fields.clone()));
    }
}

/// In one write, so that lines of the log do not come in between.
fn print(line: &Value) {
    let mut text = line.to_string();
    text.push('\n');
    // Whoever cannot be told has no use for an error either.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_cloudwatch_wants_it() {
        let mut line = Line::about("dev", &[("Network", "ethereum")]);
        line.put("ReferenceHead", Unit::None, 7).put_if("LeaderAnswers", true).note("why", "because");
        assert_eq!(
            line.metric(Timestamp::constant(1_700_000_000, 5_000_000)),
            json!({
                "_aws": {"Timestamp": 1_700_000_000_005_i64, "CloudWatchMetrics": [{
                    "Namespace": "Nodeweir",
                    "Dimensions": [["Stage", "Network"]],
                    "Metrics": [{"Name": "ReferenceHead", "Unit": "None"}, {"Name": "LeaderAnswers", "Unit": "Count"}],
                }]},
                "Stage": "dev", "Network": "ethereum", "ReferenceHead": 7, "LeaderAnswers": 1, "why": "because",
            })
        );
    }
}
