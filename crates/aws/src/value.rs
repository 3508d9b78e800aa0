//! JSON as DynamoDB's typed values, and back without loss, so that people can edit items where they are.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value, json};

/// The key under which types stand that JSON does not know. A reader meets a mapping where it expects something else,
/// and says so by name; a writer gives back what was there.
const FOREIGN: &str = "DynamoDB";

/// What the table holds, as JSON.
pub(crate) fn to_json(value: &AttributeValue) -> Value {
    let foreign = |kind: &str, value: Value| json!({ FOREIGN: { kind: value } });
    match value {
        AttributeValue::S(text) => Value::from(text.as_str()),
        AttributeValue::N(digits) => match digits.parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => foreign("N", Value::from(digits.as_str())),
        },
        AttributeValue::Bool(is) => Value::from(*is),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(list) => list.iter().map(to_json).collect(),
        AttributeValue::M(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), to_json(value))).collect();
            entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().collect())
        }
        AttributeValue::Ss(texts) => foreign("SS", json!(sorted(texts))),
        AttributeValue::Ns(digits) => foreign("NS", json!(sorted(digits))),
        AttributeValue::B(bytes) => foreign("B", json!(bytes.as_ref())),
        AttributeValue::Bs(blobs) => foreign("BS", blobs.iter().map(|bytes| json!(bytes.as_ref())).collect()),
        _ => foreign("unknown", Value::Null),
    }
}

fn sorted(texts: &[String]) -> Vec<&String> {
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort_unstable();
    sorted
}

/// JSON as the table holds it.
pub(crate) fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(is) => AttributeValue::Bool(*is),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(from_json).collect()),
        Value::Object(map) => foreign(map).unwrap_or_else(|| {
            AttributeValue::M(map.iter().map(|(key, value)| (key.clone(), from_json(value))).collect())
        }),
    }
}

/// One of the types that JSON does not know, as [`to_json`] wrote it.
fn foreign(map: &Map<String, Value>) -> Option<AttributeValue> {
    let inner = map.get(FOREIGN).filter(|_| map.len() == 1)?.as_object().filter(|inner| inner.len() == 1)?;
    let (kind, value) = inner.iter().next()?;
    let texts = || value.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect::<Option<Vec<_>>>();
    let blob = |value: &Value| serde_json::from_value(value.clone()).ok().map(|bytes: Vec<u8>| Blob::new(bytes));
    Some(match kind.as_str() {
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "B" => AttributeValue::B(blob(value)?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(blob).collect::<Option<_>>()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        for value in [
            json!(null),
            json!(true),
            json!(0),
            json!(u64::MAX),
            json!(-3),
            json!(0.25),
            json!(""),
            json!("näch\nste"),
            json!([]),
            json!([1, "a", [null]]),
            json!({}),
            json!({"by": "me", "at": {"deep": [1.5]}}),
            json!({"DynamoDB": 1, "and": 2}),
            json!({"DynamoDB": {"other": 1}}),
        ] {
            assert_eq!(to_json(&from_json(&value)), value);
        }
    }

    #[test]
    fn what_json_does_not_know_comes_back_too() {
        let text = |text: &str| text.to_owned();
        for value in [
            AttributeValue::Ss(vec![text("a"), text("b")]),
            AttributeValue::Ns(vec![text("1"), text("2")]),
            AttributeValue::B(Blob::new([0, 255])),
            AttributeValue::Bs(vec![Blob::new([1])]),
            AttributeValue::N(text("not a number")),
        ] {
            assert_eq!(from_json(&to_json(&value)), value);
        }
    }
}
