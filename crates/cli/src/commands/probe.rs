//! `nodeweir probe URL`

use std::time::Instant;

use anyhow::Result;
use nodeweir_control::prober::{HttpProber, environment};
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Address, Host, NodeUrl};
use serde_json::json;

use crate::context::{Context, Usage};
use crate::output::{Outcome, Output, Tone};

/// Without a configuration, its defaults; the network in it is never asked.
const DEFAULTS: &str = "{networks: {none: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}}";

/// Without a configuration it does with defaults.
pub(super) async fn run(
    url: NodeUrl,
    host: Option<String>,
    context: Option<Context>,
    output: Output,
) -> Result<Outcome> {
    let config = match context {
        Some(context) => context.config,
        None => Config::read(DEFAULTS)?,
    };
    config.secrets.check(&url)?;
    let host = host.map(Host::try_from).transpose().map_err(Usage)?;
    let address = Address { url: url.expect_http()?, ws_url: None, host };
    let mut steps = vec![("address", Ok(format!("{}, Host: {}", address.url, address.host_header(&address.url))))];
    if let Host::Name(name) = address.url.host() {
        let began = Instant::now();
        let found = tokio::net::lookup_host((name.as_str(), address.url.port())).await;
        let found = found.map(|all| all.map(|one| one.ip().to_string()).collect::<Vec<_>>().join(", "));
        steps.push((
            "name",
            found.map(|all| format!("{all} in {} ms", began.elapsed().as_millis())).map_err(|error| error.to_string()),
        ));
    }
    let seen = HttpProber::new(&config, environment())?.probe_address(&address, true).await;
    let took = seen.latency.as_millis();
    match &seen.outcome {
        Ok(answer) => {
            steps.push(("eth_blockNumber", Ok(answer.head.to_string())));
            let networks = config.networks.iter().filter(|(_, network)| Some(network.chain_id) == answer.chain_id);
            let network = networks.map(|(id, _)| id.to_string()).find(|id| id != "none");
            let chain = answer.chain_id.unwrap_or_default();
            steps.push(("eth_chainId", Ok(network.map_or(chain.to_string(), |id| format!("{chain} ({id})")))));
            steps.push(("time", Ok(format!("{took} ms, {} allowed", config.health.timeout.as_millis()))));
        }
        Err(failure) => steps.push(("answer", Err(format!("{failure} (after {took} ms)")))),
    }
    if output.json {
        let failure = seen.outcome.as_ref().err().map(ToString::to_string);
        let answer = seen.outcome.as_ref().ok();
        output.value(&json!({
            "url": address.url, "ok": answer.is_some(), "head": answer.map(|a| a.head), "chain_id": answer.and_then(|a| a.chain_id),
            "latency_ms": took, "failure": failure,
        }));
    } else {
        let row = |(step, result): (&str, Result<String, String>)| {
            let (tone, mark, text) = match result {
                Ok(text) => (Tone::Good, "ok", text),
                Err(text) => (Tone::Bad, "failed", text),
            };
            vec![(Tone::Plain, step.to_owned()), (tone, mark.to_owned()), (Tone::Plain, text)]
        };
        output.line(&output.table(&["STEP", "", "WHAT"], steps.into_iter().map(row).collect()));
    }
    Ok(if seen.outcome.is_ok() { Outcome::Fine } else { Outcome::Degraded })
}
