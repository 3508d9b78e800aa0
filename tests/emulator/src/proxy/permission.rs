//! What callers may do: the emulator itself allows all to everybody.

use std::collections::BTreeMap;
use std::fmt;

use super::call::Call;

/// One action on one resource, as a policy names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// `dynamodb:PutItem`.
    pub action: String,
    /// What a [`Call`] names: a table, a bucket, `bucket/key`, an ECS service, a secret, a function.
    pub resource: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.resource)
    }
}

/// Whether each permission of a caller was ever needed.
pub(super) type Granted = BTreeMap<Permission, bool>;

/// Notes that a call used what it needs; false if any of it was not granted.
pub(super) fn check(granted: &mut Granted, call: &Call) -> bool {
    let action = action(call);
    call.resources.iter().all(|resource| {
        let needed = Permission { action: action.clone(), resource: resource.clone() };
        granted.get_mut(&needed).map(|used| *used = true).is_some()
    })
}

/// IAM's name for an operation, which is the operation's own but for some.
fn action(call: &Call) -> String {
    let operation = match (call.service.as_str(), call.operation.as_str()) {
        ("lambda", "Invoke") => "InvokeFunction",
        ("s3", "HeadObject") => "GetObject",
        ("s3", "ListObjectsV2" | "HeadBucket") => "ListBucket",
        (_, operation) => operation,
    };
    format!("{}:{operation}", call.service)
}
