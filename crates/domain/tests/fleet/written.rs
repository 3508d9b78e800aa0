//! A configuration as somebody would have to write it down.

use std::time::Duration;

use nodeweir_domain::config::{Aws, Config, Gate, GateAddress, Network, RolloutMode, WhenAway};
use nodeweir_domain::gate::method::MethodPattern;
use serde_json::{Map, Value, json};

/// The file that says what `config` is.
pub(crate) fn written(config: &Config) -> Value {
    let Config { state, default_network, networks, health, secrets, proxy, rollout, gate, aws } = config;
    let times = &proxy.timeouts;
    let secrets = secrets.0.iter().map(|(name, rule)| (name.to_string(), json!({"hosts": rule.hosts})));
    let mut file = json!({
        "state": state,
        "default_network": default_network,
        "networks": networks.iter().map(|(id, one)| (id.to_string(), network(one))).collect::<Map<_, _>>(),
        "health": {
            "interval": time(health.interval),
            "timeout": time(health.timeout),
            "confirm_after": time(health.confirm_after),
            "allow_link_local": health.allow_link_local,
        },
        "secrets": secrets.collect::<Map<_, _>>(),
        "proxy": {
            "kind": proxy.kind.as_str(),
            "listen": proxy.listen.to_string(),
            "endpoint_headers": proxy.endpoint_headers,
            "access_log": proxy.access_log,
            "timeouts": {
                "connect": time(times.connect),
                "attempt": time(times.attempt),
                "total": time(times.total),
                "keepalive_min": time(times.keepalive_min),
                "shutdown": time(times.shutdown),
                "drain": time(times.drain),
                "websocket_idle": time(times.websocket_idle),
            },
            "limits": {"max_body": format!("{}B", proxy.limits.max_body), "connections": proxy.limits.connections},
        },
        "rollout": {
            "mode": match rollout.mode {
                RolloutMode::Redeploy => "redeploy",
                RolloutMode::Reload => "reload",
            },
            "min_interval": time(rollout.min_interval),
        },
        "gate": self::gate(gate),
    });
    if let Some(aws) = aws {
        file["aws"] = self::aws(aws);
    }
    file
}

fn time(time: Duration) -> String {
    format!("{}s {}ns", time.as_secs(), time.subsec_nanos())
}

fn network(network: &Network) -> Value {
    let address = &network.leader.address;
    let mut leader = json!({"name": network.leader.name, "url": address.url});
    for (key, value) in [
        ("ws_url", address.ws_url.as_ref().map(ToString::to_string)),
        ("host", address.host.as_ref().map(ToString::to_string)),
    ] {
        if let Some(value) = value {
            leader[key] = value.into();
        }
    }
    json!({
        "chain_id": network.chain_id,
        "leader": leader,
        "block_time": time(network.block_time),
        "max_lag_blocks": network.max_lag_blocks,
        "fall": network.fall,
        "rise": network.rise,
    })
}

fn gate(gate: &Gate) -> Value {
    let mut prices = json!({
        "table": gate.prices.table.as_str(),
        "methods": gate.prices.methods,
        "networks": gate.prices.networks,
    });
    if let Some(default) = gate.prices.default {
        prices["default"] = default.into();
    }
    let tiers = gate.tiers.iter().map(|(name, tier)| {
        let mut all = json!({
            "methods": tier.methods.iter().map(MethodPattern::as_str).collect::<Vec<_>>(),
            "websocket": if tier.websocket { "unmetered" } else { "refused" },
        });
        let rate = tier.requests_per_second.map(|rate| u64::from(rate.get()));
        for (key, count) in [("requests_per_second", rate), ("credits_per_month", tier.credits_per_month)] {
            if let Some(count) = count {
                all[key] = count.into();
            }
        }
        (name.to_string(), all)
    });
    json!({
        "enabled": gate.enabled,
        "when_away": match gate.when_away {
            WhenAway::Closed => "closed",
            WhenAway::Open => "open",
        },
        "listen": match gate.listen {
            GateAddress::Socket => "socket".to_owned(),
            GateAddress::Tcp(address) => address.to_string(),
        },
        "admin": gate.admin.to_string(),
        "trusted_proxies": gate.trusted_proxies,
        "limits": {"store": gate.limits.to_string()},
        "shield": {"requests_per_second": gate.shield.requests_per_second, "connections": gate.shield.connections},
        "batch": gate.batch,
        "overdraft_percent": gate.overdraft_percent,
        "prices": prices,
        "tiers": tiers.collect::<Map<_, _>>(),
    })
}

/// The programs keep little of a deployment; the rest is anybody's.
fn aws(aws: &Aws) -> Value {
    let Aws { account, region, host, secrets } = aws;
    let secrets: Map<_, _> = secrets.iter().map(|(name, arn)| (name.to_string(), arn.as_str().into())).collect();
    json!({
        "account": account,
        "region": region,
        "vpc": "vpc-0123456789abcdef0",
        "subnets": ["subnet-0123456789abcdef0"],
        "security_groups": {"probe": ["sg-0123456789abcdef0"], "proxy": ["sg-0123456789abcdef1"]},
        "cluster": "main",
        "load_balancer": {"listener": format!("arn:aws:elasticloadbalancing:{region}:{account}:listener/app/main/0/1"), "host": host},
        "image": "example.com/jsonrpc-proxy:1",
        "secrets": secrets,
    })
}
