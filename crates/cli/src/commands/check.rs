//! `nodeweir check`

use std::path::Path;

use anyhow::Result;
use nodeweir_control::proxy::Program;
use nodeweir_domain::fleet::node::resolve;
use serde_json::json;

use crate::context::Context;
use crate::output::{Outcome, Output, Tone};

pub(super) fn run(file: Option<&Path>, output: Output) -> Result<Outcome> {
    let context = Context::load(file)?;
    let config = &context.config;
    let mut warnings = Vec::new();
    for name in config.secrets.0.keys() {
        if let Err(error) = resolve(&format!("${{{name}}}"), |name| std::env::var(name.as_str()).ok()) {
            warnings.push(error.to_string());
        }
    }
    let proxy = match Program::find(config.proxy.kind) {
        Ok(program) => Some(program.to_string()),
        Err(error) => {
            warnings.push(error.to_string());
            None
        }
    };
    let networks: Vec<_> = config.networks.iter().map(|(id, network)| json!({
        "network": id, "chain_id": network.chain_id, "leader": network.leader.name, "max_lag_blocks": network.max_lag_blocks,
    })).collect();
    if output.json {
        output.value(&json!({"file": context.file, "networks": networks, "proxy": proxy, "state": context.state, "warnings": warnings}));
    } else {
        output.line(&format!("{} is right", context.file.display()));
        for (id, network) in &config.networks {
            let lag = nodeweir_domain::text::counted(network.max_lag_blocks, "block");
            output.line(&format!(
                "  {id}: chain {}, leader {}, {lag} of lag allowed",
                network.chain_id, network.leader.name
            ));
        }
        output.line(&format!("  state in {}", context.state.display()));
        output.line(&format!("  proxy: {}", proxy.unwrap_or_else(|| format!("{} (not found)", config.proxy.kind))));
        for warning in &warnings {
            output.line(&output.tone(Tone::Odd, &format!("  {warning}")));
        }
    }
    Ok(if warnings.is_empty() { Outcome::Fine } else { Outcome::Degraded })
}
