//! The emulator: one for this test program, with names of its own for each test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

static URL: OnceLock<String> = OnceLock::new();
static HELD: Mutex<Option<(Child, ChildStdin)>> = Mutex::new(None);

fn url() -> &'static str {
    URL.get_or_init(|| {
        let tools = std::env::var("NODEWEIR_AWS_TOOLS").unwrap();
        let mut child = Command::new(format!("{tools}/.venv/bin/python"))
            .arg(format!("{tools}/serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        *HELD.lock().unwrap() = Some((child, stdin));
        line.trim().to_owned()
    })
}

/// Ways to it.
pub(crate) async fn sdk() -> SdkConfig {
    sdk_at(url()).await
}

pub(crate) async fn sdk_at(url: &str) -> SdkConfig {
    let credentials = Credentials::new("key", "secret", None, None, "the tests");
    nodeweir_aws::connect(None)
        .await
        .into_builder()
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A name that no other test has.
pub(crate) fn name(kind: &str) -> String {
    format!("{kind}-{:016x}", fastrand::u64(..))
}
