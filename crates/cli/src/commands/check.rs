//! `nodeweir check`

use std::path::Path;

use anyhow::Result;
use nodeweir_control::proxy::Program;
use nodeweir_domain::config::{Aws, Config, Gate, GateAddress, LimitStore, WhenAway};
use nodeweir_domain::fleet::node::{SecretName, resolve};
use nodeweir_domain::name::StageName;
use serde_json::json;

use crate::context::Context;
use crate::output::{Outcome, Output, Tone};

/// Where what the configuration describes runs, and what is missing there.
struct Place {
    /// For people, a line each.
    lines: Vec<String>,
    proxy: Option<String>,
    warnings: Vec<String>,
}

impl Place {
    fn here(context: &Context) -> Self {
        let config = &context.config;
        let value = |name: &SecretName| std::env::var(name.as_str()).ok();
        let secrets = config.secrets.0.keys().filter_map(|name| resolve(&format!("${{{name}}}"), value).err());
        let mut warnings: Vec<String> = secrets.map(|error| error.to_string()).collect();
        let proxy = match Program::find(config.proxy.kind) {
            Ok(program) => Some(program.to_string()),
            Err(error) => {
                warnings.push(error.to_string());
                None
            }
        };
        let shown = proxy.clone().unwrap_or_else(|| format!("{} (not found)", config.proxy.kind));
        Self {
            lines: vec![format!("state in {}", context.state.display()), format!("proxy: {shown}")],
            proxy,
            warnings,
        }
    }

    /// On AWS, where nothing of this machine matters.
    fn on_aws(config: &Config, aws: &Aws) -> Self {
        let Aws { account, region, host, .. } = aws;
        let lines = vec![
            format!("on AWS: account {account}, {region}, behind {host}"),
            format!("proxy: {}, in its image", config.proxy.kind),
        ];
        let mut warnings = Vec::new();
        if config.gate.enabled && config.gate.trusted_proxies.is_empty() {
            warnings.push(
                "`gate.trusted_proxies` is empty: every client seems to have an address of the load balancer, so that keys \
                 cannot be restricted to addresses, and `gate.shield` bounds all of them together. Write the ranges of the \
                 load balancer's subnets"
                    .to_owned(),
            );
        }
        Self { lines, proxy: None, warnings }
    }
}

pub(super) fn run(file: Option<&Path>, stage: Option<&StageName>, output: Output) -> Result<Outcome> {
    let context = Context::load(file, stage)?;
    let config = &context.config;
    let Place { lines, proxy, warnings } = match &config.aws {
        Some(aws) => Place::on_aws(config, aws),
        None => Place::here(&context),
    };
    let networks: Vec<_> = config.networks.iter().map(|(id, network)| json!({
        "network": id, "chain_id": network.chain_id, "leader": network.leader.name, "max_lag_blocks": network.max_lag_blocks,
    })).collect();
    let cautions = cautions(&config.gate);
    if output.json {
        let gate = &config.gate;
        // As the configuration has it.
        let listen = match gate.listen {
            GateAddress::Socket => "socket".to_owned(),
            GateAddress::Tcp(address) => address.to_string(),
        };
        let gate = json!({
            "enabled": gate.enabled, "listen": listen, "admin": gate.admin,
            "when_away": shown_when_away(gate.when_away).0, "limits": gate.limits.to_string(), "cautions": cautions,
        });
        let aws = config.aws.as_ref();
        let aws = aws.map(|aws| json!({"account": aws.account, "region": aws.region, "host": aws.host}));
        let state = aws.is_none().then_some(&context.state);
        output.value(&json!({
            "file": context.file, "networks": networks, "proxy": proxy, "gate": gate, "state": state, "aws": aws,
            "warnings": warnings,
        }));
    } else {
        output.line(&format!("{} is right", context.file.display()));
        for (id, network) in &config.networks {
            let lag = nodeweir_domain::text::counted(network.max_lag_blocks, "block");
            output.line(&format!(
                "  {id}: chain {}, leader {}, {lag} of lag allowed",
                network.chain_id, network.leader.name
            ));
        }
        for line in lines {
            output.line(&format!("  {line}"));
        }
        for line in describe(&config.gate) {
            output.line(&format!("  {line}"));
        }
        for warning in warnings.iter().chain(&cautions) {
            output.line(&output.tone(Tone::Odd, &format!("  {warning}")));
        }
    }
    Ok(if warnings.is_empty() { Outcome::Fine } else { Outcome::Degraded })
}

fn describe(gate: &Gate) -> Vec<String> {
    if !gate.enabled {
        return vec!["the gate is off: whoever reaches the address may call".to_owned()];
    }
    let listen = match gate.listen {
        GateAddress::Socket => "a unix socket in the proxy's folder".to_owned(),
        GateAddress::Tcp(address) => address.to_string(),
    };
    let admin = gate.admin;
    let (_, fate) = shown_when_away(gate.when_away);
    let mut lines = vec![format!("gate: on, at {listen}, admin at {admin}; while it is away, requests {fate}")];
    if let LimitStore::Redis(url) = &gate.limits {
        lines.push(format!("rates: counted in {url}, by each gate while that is away"));
    }
    lines
}

/// What is right and meant, and yet lets somebody call without limit. It changes no exit code.
fn cautions(gate: &Gate) -> Vec<String> {
    if !gate.enabled {
        return Vec::new();
    }
    let open = (gate.when_away == WhenAway::Open).then(|| {
        "`when_away: open`: while the gate is away, whoever reaches the address may call, without key or limit"
            .to_owned()
    });
    let unmetered = gate.tiers.iter().filter(|(_, tier)| tier.websocket).map(|(name, _)| {
        format!(
            "tier {name}: `websocket: unmetered`: what its projects send by WebSocket is neither limited nor charged"
        )
    });
    open.into_iter().chain(unmetered).collect()
}

/// The word for it, and what becomes of requests.
fn shown_when_away(when_away: WhenAway) -> (&'static str, &'static str) {
    match when_away {
        WhenAway::Closed => ("closed", "are answered 503"),
        WhenAway::Open => ("open", "pass"),
    }
}
