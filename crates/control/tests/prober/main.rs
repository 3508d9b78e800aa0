//! The real prober against servers that do whatever a server can do wrong. Every case ends with its own failure and
//! its own words, because on-call reads them, and none costs more than the configured time and a bounded memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod answers;
mod connections;
mod endless;
mod names;
mod requests;
mod server;
mod starved;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use nodeweir_control::prober::{HttpProber, Secrets};
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::Address;
use nodeweir_domain::fleet::probe::{Answer, Failure};

/// No probe may take longer than this, however busy the machine is; the configured times are far shorter.
const DEADLINE: Duration = Duration::from_secs(60);
/// For cases that end by themselves: longer than any of them takes.
const PATIENT: Duration = Duration::from_secs(30);
/// For cases that end by the prober's own clock.
const BRIEF: Duration = Duration::from_secs(2);

fn config(timeout: Duration) -> Config {
    let text = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}";
    let mut config = Config::read(text).unwrap();
    config.health.timeout = timeout;
    config
}

fn no_secrets() -> Secrets {
    Arc::new(|_| None)
}

fn address(url: &str) -> Address {
    Address { url: url.parse().unwrap(), ws_url: None, host: None }
}

/// Asks for head and chain id, and fails if that does not end.
async fn ask(prober: &HttpProber, address: &Address) -> Result<Answer, Failure> {
    let observation = tokio::time::timeout(DEADLINE, prober.probe_address(address, true)).await;
    let observation = observation.unwrap_or_else(|_| panic!("a probe of {} does not end", address.url));
    assert_eq!(observation.address, *address);
    observation.outcome
}

/// Whether nothing came in time, on a busy machine too.
fn is_late(outcome: &Result<Answer, Failure>) -> bool {
    matches!(outcome, Err(Failure::Timeout | Failure::Starved))
}

/// The same, with a prober of its own.
async fn probe(timeout: Duration, url: &str) -> Result<Answer, Failure> {
    ask(&HttpProber::new(&config(timeout), no_secrets()).unwrap(), &address(url)).await
}
