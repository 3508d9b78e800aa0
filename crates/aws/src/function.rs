//! Asking the function `probe` to look at some networks at once.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use nodeweir_control::edges::EdgeError;
use nodeweir_domain::name::NetworkId;
use serde_json::json;

use crate::connect::why;

const CONNECT: Duration = Duration::from_secs(2);
/// A probe may take up to 30 s by configuration; the rest is for the store.
const LONGEST: Duration = Duration::from_secs(45);

/// The function `probe`, which alone can reach the nodes.
#[derive(Debug, Clone)]
pub struct ProbeFunction {
    client: Client,
    name: String,
}

impl ProbeFunction {
    /// The function of this name.
    pub fn new(sdk: &SdkConfig, name: String) -> Self {
        // Once, and for as long as a tick takes: trying again would probe again beside the first.
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(LONGEST).build();
        let config = aws_sdk_lambda::config::Builder::from(sdk);
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
        Self { client: Client::from_conf(config), name }
    }

    /// Has these networks probed, and waits until that is done.
    pub async fn probe(&self, networks: &BTreeSet<NetworkId>) -> Result<(), EdgeError> {
        let failed =
            |error: &dyn ToString| EdgeError::new(format!("calling function {}", self.name), &error.to_string());
        let event = json!({ "networks": networks });
        let call = self.client.invoke().function_name(&self.name).payload(Blob::new(event.to_string()));
        let told = call.send().await.map_err(|error| failed(&why(&error)))?;
        let said = told.payload.map(|payload| String::from_utf8_lossy(payload.as_ref()).into_owned());
        match told.function_error {
            None => Ok(()),
            Some(kind) => Err(failed(&format!("{kind}: {}", said.unwrap_or_default()))),
        }
    }
}
