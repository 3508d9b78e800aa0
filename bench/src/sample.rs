//! Fleets to measure with.

use std::time::Duration;

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::Item;
use serde_json::{Map, Value, json};

/// As many as a provider of its kind serves.
pub(crate) const NETWORKS: usize = 20;

/// Every network, its leader at `leader(index)`.
pub(crate) fn config(leader: impl Fn(usize) -> String) -> anyhow::Result<Config> {
    Ok(Config::read(&config_text(leader, &json!({})))?)
}

/// The same as a file, with more sections. JSON is YAML.
pub(crate) fn config_text(leader: impl Fn(usize) -> String, more: &Value) -> String {
    let network = |index| {
        let leader = json!({"name": "leader", "url": leader(index)});
        (network(index), json!({"chain_id": 1, "block_time": "12s", "leader": leader}))
    };
    let networks: Map<_, _> = (0..NETWORKS).map(network).collect();
    let mut all = json!({"default_network": self::network(0), "networks": networks});
    for (section, value) in more.as_object().into_iter().flatten() {
        all[section] = value.clone();
    }
    all.to_string()
}

pub(crate) fn network(index: usize) -> String {
    format!("network-{index}")
}

/// An own node, on one network after the other.
pub(crate) fn item(index: usize, attributes: &Value) -> Item {
    let attributes = attributes.as_object().cloned().unwrap_or_default();
    Item { network: network(index % NETWORKS), node: format!("node-{index}"), attributes }
}

/// The one in the middle.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
