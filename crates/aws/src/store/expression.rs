//! Conditions and changes of writes. Names and values stand beside their text, never in it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Place, Row, text};

/// What must be true of the row that a write is about, or what becomes of it.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub(super) text: String,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<Row>,
}

impl Expression {
    /// Of a text with names as `#name`, which stand for themselves, and values as `:value`.
    pub(super) fn new<const V: usize>(text: &str, names: &[&str], values: [(&str, AttributeValue); V]) -> Self {
        let values: Row = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self {
            text: text.to_owned(),
            names: Some(names.iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect()),
            values: Some(values).filter(|values| !values.is_empty()),
        }
    }

    /// It is, to the byte, what was read.
    pub(super) fn still(place: Place<'_>, before: Option<&Row>) -> Self {
        let key = place.keys[0].0;
        match before.map(|before| before.get("value")) {
            None => Self::new(&format!("attribute_not_exists(#{key})"), &[key], []),
            Some(None) => {
                let text = format!("attribute_exists(#{key}) AND attribute_not_exists(#value)");
                Self::new(&text, &[key, "value"], [])
            }
            Some(Some(value)) => Self::new("#value = :value", &["value"], [(":value", value.clone())]),
        }
    }

    /// It is not there, or says that it is `whose`.
    pub(super) fn is_free_or(place: Place<'_>, attribute: &str, whose: &str) -> Self {
        let key = place.keys[0].0;
        let condition = format!("attribute_not_exists(#{key}) OR #{attribute} = :whose");
        Self::new(&condition, &[key, attribute], [(":whose", text(whose))])
    }
}
