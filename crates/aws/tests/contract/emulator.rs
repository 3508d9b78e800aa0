//! The emulator: one for this test program, with names of its own for each test.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use nodeweir_emulator::Moto;

/// moto does one thing at a time, and takes seconds for thousands of rows. A call that is tried again meanwhile would find
/// its own effects.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ways to it.
pub(crate) async fn sdk() -> SdkConfig {
    sdk_at(Moto::shared().url()).await
}

pub(crate) async fn sdk_at(url: &str) -> SdkConfig {
    let credentials = Credentials::new("key", "secret", None, None, "the tests");
    let patience = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build();
    nodeweir_aws::connect(None)
        .await
        .into_builder()
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .timeout_config(patience)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A name that no other test has.
pub(crate) fn name(kind: &str) -> String {
    format!("{kind}-{:016x}", fastrand::u64(..))
}
