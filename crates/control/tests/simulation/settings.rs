//! Under which configuration a seed plays: three chains that differ in all that judging looks at, either proxy, and
//! the ways of rolling out.

use nodeweir_domain::config::Config;

/// The networks' names; a machine's network is an index into them.
pub(crate) const NETWORKS: [&str; 3] = ["ethereum", "optimism", "polygon"];

/// Milliseconds between two blocks, by network.
pub(crate) const BLOCK_MS: [u64; 3] = [12_000, 2_000, 2_000];

/// What a seed decides about the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    proxy: &'static str,
    min_interval: &'static str,
    /// Whether starting is instant, as where the service is a process of this machine.
    pub(crate) is_local: bool,
}

impl Settings {
    pub(crate) fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            proxy: if rng.bool() { "nginx" } else { "haproxy" },
            min_interval: rng.choice(["0s", "90s", "10m"]).unwrap(),
            is_local: rng.u32(..4) == 0,
        }
    }

    pub(crate) fn config(self) -> Config {
        let Self { proxy, min_interval, .. } = self;
        let text = format!(
            "default_network: ethereum
networks:
  ethereum:
    chain_id: 1
    block_time: 12s
    leader: {{url: 'https://mainnet.infura.io/v3/${{INFURA_KEY}}'}}
  optimism:
    chain_id: 10
    block_time: 2s
    max_lag_blocks: 5
    leader: {{name: alchemy, url: 'https://optimism.alchemy.example/v2'}}
  polygon:
    chain_id: 137
    block_time: 2s
    max_lag: 30s
    fall: 2
    rise: 3
    leader: {{url: 'http://10.3.9.9:8545'}}
secrets:
  INFURA_KEY: {{hosts: ['*.infura.io']}}
proxy: {{kind: {proxy}}}
gate: {{enabled: false}}
rollout: {{min_interval: {min_interval}}}
"
        );
        Config::read(&text).unwrap_or_else(|faults| panic!("{faults}"))
    }
}
