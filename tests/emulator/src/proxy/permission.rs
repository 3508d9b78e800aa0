//! What callers may do: the emulator itself allows all to everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::call::Call;

/// One action on one resource, as a policy names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// `dynamodb:PutItem`.
    pub action: String,
    /// What a [`Call`] names: a table, a bucket, `bucket/key`, an ECS service, a secret, a function; or an index, as
    /// `table/index/name`.
    pub resource: String,
    /// Of a table, the partition keys of the only rows that it is for; `*` at an end is anything. For all rows if empty.
    pub leading: Vec<String>,
}

impl Permission {
    /// By which of the leading keys a call may do what it needs; by number 0 if it is for all rows. None if it may not.
    fn covers(&self, need: &Self) -> Option<BTreeSet<usize>> {
        if (&self.action, &self.resource) != (&need.action, &need.resource) {
            return None;
        }
        if self.leading.is_empty() {
            return Some(BTreeSet::from([0]));
        }
        let is_like = |pattern: &String, key: &String| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        };
        let by = |key| self.leading.iter().position(|pattern| is_like(pattern, key));
        // A call whose rows are not known may be about any.
        need.leading.iter().map(by).collect::<Option<BTreeSet<_>>>().filter(|by| !by.is_empty())
    }

    /// What is left of it without what was needed.
    fn without(&self, used: &BTreeSet<usize>) -> Option<Self> {
        if self.leading.is_empty() {
            return used.is_empty().then(|| self.clone());
        }
        let left = self.leading.iter().enumerate().filter(|(number, _)| !used.contains(number));
        let leading: Vec<String> = left.map(|(_, pattern)| pattern.clone()).collect();
        (!leading.is_empty()).then(|| Self { leading, ..self.clone() })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.resource)?;
        if self.leading.is_empty() { Ok(()) } else { write!(f, " of {}", self.leading.join(", ")) }
    }
}

/// What a caller may, and which part of it was ever needed.
#[derive(Debug, Default)]
pub(super) struct Granted(BTreeMap<Permission, BTreeSet<usize>>);

impl Granted {
    pub(super) fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self(permissions.into_iter().map(|permission| (permission, BTreeSet::new())).collect())
    }

    /// Notes that a call used what it needs; false if any of it was not granted.
    pub(super) fn check(&mut self, call: &Call) -> bool {
        call.needs().iter().all(|need| {
            let found = self.0.iter_mut().find_map(|(permission, used)| Some((used, permission.covers(need)?)));
            found.map(|(used, by)| used.extend(by)).is_some()
        })
    }

    /// What was never needed.
    pub(super) fn unused(&self) -> Vec<Permission> {
        self.0.iter().filter_map(|(permission, used)| permission.without(used)).collect()
    }
}
