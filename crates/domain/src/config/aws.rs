//! Where it runs on AWS.

use std::collections::BTreeMap;

use crate::fleet::node::SecretName;

/// What the programs themselves must know of a deployment on AWS. The rest of the section is for the deployment alone,
/// which reads it by the schema; it is checked here too, so that `check` tells all faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// The account's 12 digits.
    pub account: String,
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// The host name under which clients call.
    pub host: String,
    /// The ARN in Secrets Manager of each secret's value.
    pub secrets: BTreeMap<SecretName, String>,
}
