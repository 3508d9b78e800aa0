//! Reading what people wrote into types, reporting every fault and where it is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, Map as _, MergeWithError, Value, ValueKind, ValuePointerRef,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::name::shown;

/// One step from the top of a document to a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a sequence.
    Index(usize),
}

impl Step {
    /// The key, if it goes into a mapping.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The way from the top.
    pub path: Vec<Step>,
    /// What is wrong, what was expected.
    pub problem: String,
}

impl Fault {
    /// A fault at a dotted path of keys, such as `networks.ethereum.leader`. A key that holds a dot becomes more than one
    /// step.
    pub fn at(path: &str, problem: impl Into<String>) -> Self {
        let path =
            if path.is_empty() { Vec::new() } else { path.split('.').map(|key| Step::Key(key.to_owned())).collect() };
        Self { path, problem: problem.into() }
    }

    /// The path as people write it: `networks.ethereum.leader`.
    pub fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if place.is_empty() => place.push_str(&shown(key)),
                Step::Key(key) => drop(write!(place, ".{}", shown(key))),
                Step::Index(index) => drop(write!(place, "[{index}]")),
            }
        }
        place
    }
}

/// Everything wrong with one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(pub Vec<Fault>);

/// Reads `value` as `T`, or says all that is wrong with it.
pub fn read<T: Deserr<Faults>>(value: serde_json::Value) -> Result<T, Faults> {
    deserr::deserialize::<T, _, Faults>(value)
}

fn steps(location: ValuePointerRef<'_>) -> Vec<Step> {
    let mut steps = match location {
        ValuePointerRef::Origin => return Vec::new(),
        ValuePointerRef::Key { key, prev } => vec![(Step::Key(key.to_owned()), prev)],
        ValuePointerRef::Index { index, prev } => vec![(Step::Index(index), prev)],
    };
    while let Some((_, prev)) = steps.last() {
        match **prev {
            ValuePointerRef::Origin => break,
            ValuePointerRef::Key { key, prev } => steps.push((Step::Key(key.to_owned()), prev)),
            ValuePointerRef::Index { index, prev } => steps.push((Step::Index(index), prev)),
        }
    }
    steps.into_iter().rev().map(|(step, _)| step).collect()
}

fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "nothing",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger => "a whole number",
        ValueKind::Float => "a number",
        ValueKind::String => "a text",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping of keys",
    }
}

/// ` (did you mean `url`?)` if one of `known` is near enough to `given`.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min()
        .map_or(String::new(), |(_, name)| format!("; did you mean `{name}`?"))
}

impl DeserializeError for Faults {
    fn error<V: IntoValue>(
        self_: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut path = steps(location);
        let problem = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                let mut expected: Vec<_> = accepted.iter().map(|k| kind(*k)).filter(|k| *k != "nothing").collect();
                expected.dedup();
                format!("expected {}, found {}", expected.join(" or "), kind(actual.kind()))
            }
            ErrorKind::MissingField { field } => format!("`{field}` is missing"),
            ErrorKind::UnknownKey { key, accepted } => {
                path.push(Step::Key(key.to_owned()));
                let near = did_you_mean(key, accepted.iter().copied());
                if near.is_empty() {
                    format!("unknown key `{}`; known here: {}", shown(key), accepted.join(", "))
                } else {
                    format!("unknown key `{}`{near}", shown(key))
                }
            }
            ErrorKind::UnknownValue { value, accepted } => {
                format!("unknown value {:?}; expected one of {}", shown(value), accepted.join(", "))
            }
            ErrorKind::BadSequenceLen { expected, .. } => format!("expected a list of {expected}"),
            ErrorKind::Unexpected { msg } => msg,
        };
        let mut faults = self_.unwrap_or_default();
        faults.0.push(Fault { path, problem });
        ControlFlow::Continue(faults)
    }
}

impl MergeWithError<Faults> for Faults {
    fn merge(self_: Option<Self>, other: Faults, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut faults = self_.unwrap_or_default();
        faults.0.extend(other.0);
        ControlFlow::Continue(faults)
    }
}

/// Errors of single values that become a fault at their place.
macro_rules! becomes_fault {
    ($($error:ty),* $(,)?) => {$(
        impl MergeWithError<$error> for Faults {
            fn merge(self_: Option<Self>, other: $error, location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
                let mut faults = self_.unwrap_or_default();
                faults.0.push(Fault { path: steps(location), problem: other.to_string() });
                ControlFlow::Continue(faults)
            }
        }
    )*};
}
becomes_fault!(Infallible, String, crate::name::BadName, crate::fleet::node::BadUrl);

/// A mapping from names to values. Unlike deserr 0.6's reading of a `BTreeMap`, which drops what is wrong inside
/// (and the value with it), every fault is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Keyed<T>(pub BTreeMap<String, T>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Deserr<Faults>> Deserr<Faults> for Keyed<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let Value::Map(map) = value else {
            let kinds = ErrorKind::IncorrectValueKind { actual: value, accepted: &[ValueKind::Map] };
            let (ControlFlow::Continue(faults) | ControlFlow::Break(faults)) =
                Faults::error::<V>(None, kinds, location);
            return Err(faults);
        };
        let mut faults = Faults::default();
        let mut read = BTreeMap::new();
        for (key, value) in map.into_iter() {
            match T::deserialize_from_value(value.into_value(), location.push_key(&key)) {
                Ok(value) => drop(read.insert(key, value)),
                Err(inner) => faults.0.extend(inner.0),
            }
        }
        if faults.0.is_empty() { Ok(Self(read)) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        assert_eq!(did_you_mean("ur", ["url", "note"]), "; did you mean `url`?");
        assert_eq!(did_you_mean("wieght", ["weight", "host"]), "; did you mean `weight`?");
        assert_eq!(did_you_mean("banana", ["weight", "host"]), "");
    }
}
