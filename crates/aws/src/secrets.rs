//! Values of secrets, from Secrets Manager.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use nodeweir_control::edges::EdgeError;
use nodeweir_domain::config::Aws;
use nodeweir_domain::fleet::node::SecretName;

use crate::connect::why;

/// Reads the value of every secret that the configuration names. One that cannot be read is left out, with the reason:
/// the nodes that need it are found unhealthy by name, the others are probed.
pub async fn read_secrets(sdk: &SdkConfig, aws: &Aws) -> (BTreeMap<SecretName, String>, Vec<EdgeError>) {
    let client = Client::new(sdk);
    let (mut values, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, arn) in &aws.secrets {
        let what = || format!("reading the value of ${{{name}}} from {arn}");
        match client.get_secret_value().secret_id(arn).send().await {
            Ok(told) => match told.secret_string {
                Some(value) => drop(values.insert(name.clone(), value)),
                None => errors.push(EdgeError::new(what(), &"it is binary; plain text is expected")),
            },
            Err(error) => errors.push(EdgeError::new(what(), &why(&error))),
        }
    }
    (values, errors)
}
