//! Fleets of any size, all of whose nodes are one that answers at many addresses.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::judge::Health;
use nodeweir_domain::fleet::node::{Item, Listed, list};
use nodeweir_domain::fleet::plan::{Plan, Step, World, plan};
use nodeweir_domain::name::NetworkId;
use serde_json::json;

use crate::decide::judged;
use crate::gate::setting;

/// How large a fleet is, and how many ask. Each network has a leader besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) networks: usize,
    /// Own nodes of each network.
    pub(crate) nodes: usize,
    /// Keys that ask, one after the other.
    pub(crate) keys: usize,
}

impl Shape {
    /// The least that somebody runs who wants to lose a node without noticing.
    pub(crate) const SMALL: Self = Self { networks: 1, nodes: 2, keys: 1 };

    pub(crate) fn nodes_in_all(self) -> usize {
        self.networks * self.nodes
    }

    fn items(self, port: u16) -> Vec<Item> {
        let item = |index: usize| {
            let url = format!("http://127.1.{}.{}:{port}", index / 250, index % 250 + 1);
            let attributes = json!({"url": url}).as_object().cloned().unwrap_or_default();
            Item { network: setting::network(index % self.networks), node: format!("node-{index}"), attributes }
        };
        (0..self.nodes_in_all()).map(item).collect()
    }
}

/// A fleet of which everybody is healthy.
pub(crate) struct Fleet {
    config: Config,
    listed: Listed,
    health: BTreeMap<NetworkId, Health>,
}

impl Fleet {
    /// Nodes at `port`.
    pub(crate) fn new(shape: Shape, config: &Config, port: u16) -> anyhow::Result<Self> {
        let listed = list(&shape.items(port), config);
        anyhow::ensure!(listed.rejected.is_empty(), "{:?}", listed.rejected.first());
        let health = judged(config, &listed, &BTreeMap::new(), 100);
        Ok(Self { config: config.clone(), listed, health })
    }

    /// What is to be published where nothing is yet.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let Self { config, listed, health } = self;
        let (published, pin, now) = (None, None, Timestamp::UNIX_EPOCH);
        let plan = plan(World { config, listed, health, published, is_intact: false, pin, now });
        anyhow::ensure!(matches!(plan.step, Step::Publish { .. }), "{:?}", plan.findings.first());
        Ok(plan)
    }
}
