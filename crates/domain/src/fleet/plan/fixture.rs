//! Two small networks for the tests of planning: `ethereum` with a, b, c and `polygon` with x, each with a leader.

use serde_json::json;

use super::*;
use crate::fleet::judge::{Reason, State, Status};
use crate::fleet::node::{Item, list};
use crate::fleet::probe::Failure;

pub(in crate::fleet) const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

const CONFIG: &str = "
default_network: ethereum
networks:
  ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'https://mainnet.infura.io/v3/${KEY}'}}
  polygon: {chain_id: 137, block_time: 2s, leader: {url: 'https://polygon-mainnet.infura.io/v3/${KEY}'}}
secrets: {KEY: {hosts: ['*.infura.io']}}
";

/// All that decides what is published.
pub(in crate::fleet) struct Fleet {
    pub(in crate::fleet) config: Config,
    pub(in crate::fleet) listed: Listed,
    pub(in crate::fleet) health: BTreeMap<NetworkId, Health>,
    pub(in crate::fleet) published: Option<Revision>,
    pub(in crate::fleet) is_intact: bool,
    pub(in crate::fleet) pin: Option<Pin>,
    pub(in crate::fleet) now: Timestamp,
}

pub(in crate::fleet) fn silent() -> Reason {
    Reason::Failed(Failure::Timeout)
}

pub(in crate::fleet) fn wrong_chain() -> Reason {
    Reason::WrongChain { expected: 1, found: 2 }
}

impl Fleet {
    /// Everybody is healthy; nothing is published yet.
    pub(in crate::fleet) fn new() -> Self {
        let config = Config::read(CONFIG).unwrap();
        let item = |network: &str, node: &str, url: &str| {
            let serde_json::Value::Object(attributes) = json!({"url": url}) else { unreachable!() };
            Item { network: network.to_owned(), node: node.to_owned(), attributes }
        };
        let items = [
            item("ethereum", "a", "http://10.0.0.1:8545"),
            item("ethereum", "b", "http://10.0.0.2:8545"),
            item("ethereum", "c", "https://c.example/rpc"),
            item("polygon", "x", "http://10.0.1.1:8545"),
        ];
        let listed = list(&items, &config);
        assert_eq!((listed.nodes.len(), listed.rejected.len()), (6, 0));
        let mut fleet =
            Self { config, listed, health: BTreeMap::new(), published: None, is_intact: false, pin: None, now: NOW };
        for node in fleet.listed.nodes.clone() {
            fleet.judge(node.network.as_str(), node.name.as_str(), None);
        }
        fleet
    }

    /// The same with everything published.
    pub(in crate::fleet) fn live() -> Self {
        let mut fleet = Self::new();
        fleet.publish();
        fleet
    }

    pub(in crate::fleet) fn world(&self) -> World<'_> {
        World {
            config: &self.config,
            listed: &self.listed,
            health: &self.health,
            published: self.published.as_ref(),
            is_intact: self.is_intact,
            pin: self.pin.as_ref(),
            now: self.now,
        }
    }

    pub(in crate::fleet) fn plan(&self) -> Plan {
        plan(self.world())
    }

    /// Carries out what is planned, and tells why; then there is nothing left to do.
    #[track_caller]
    pub(in crate::fleet) fn publish(&mut self) -> String {
        let plan = self.plan();
        let Step::Publish { reason } = plan.step else { panic!("{:?}: {:?}", plan.step, plan.findings) };
        if plan.released.is_some() {
            self.pin = None;
        }
        let seq = self.published.as_ref().map_or(1, |revision| revision.seq + 1);
        let (proxy, rosters, body) = (self.config.proxy.kind, plan.rosters, plan.body);
        let revision = Revision { seq, proxy, at: self.now, reason: reason.clone(), rosters, body };
        self.published = Some(Revision::parse(&revision.compose()).unwrap());
        self.is_intact = true;
        let again = self.plan();
        assert_eq!((again.step, again.released), (Step::Nothing, None), "after {reason:?}");
        reason
    }

    pub(in crate::fleet) fn node(&mut self, network: &str, node: &str) -> &mut Node {
        let found = self.listed.nodes.iter_mut().find(|it| it.network.as_str() == network && it.name.as_str() == node);
        found.unwrap()
    }

    /// Concludes that a node is healthy, or why it is not, at its present address.
    pub(in crate::fleet) fn judge(&mut self, network: &str, node: &str, reason: Option<Reason>) {
        let Node { address, name, network, .. } = self.node(network, node).clone();
        let state = if reason.is_none() { State::Healthy } else { State::Unhealthy };
        let health = self.health.entry(network).or_default();
        let head = (!matches!(reason, Some(Reason::Failed(_)))).then_some(100);
        health.seen.nodes.entry(name.clone()).or_default().head = head;
        health.statuses.insert(name, Status { address, state, reason, since: NOW });
    }

    pub(in crate::fleet) fn cordon(&mut self, network: &str, node: &str) {
        let cordon = crate::fleet::node::Cordon { by: "me".to_owned(), why: String::new(), at: NOW, until: None };
        self.node(network, node).cordon = Some(cordon);
    }

    pub(in crate::fleet) fn remove(&mut self, network: &str, node: &str) {
        self.listed.nodes.retain(|it| it.network.as_str() != network || it.name.as_str() != node);
    }

    /// Moves a node; nobody has probed it there.
    pub(in crate::fleet) fn relocate(&mut self, network: &str, node: &str) {
        self.node(network, node).address.url = "http://10.9.9.9:8545".parse().unwrap();
    }

    /// A rollback to what is published now, for an hour.
    pub(in crate::fleet) fn pin_published(&mut self, why: &str) {
        let published = self.published.as_ref().unwrap();
        self.pin = Some(Pin {
            revision: published.seq,
            rosters: published.rosters.clone(),
            by: "me".to_owned(),
            why: why.to_owned(),
            at: self.now,
            until: self.now + std::time::Duration::from_secs(3600),
        });
    }

    /// The names in a planned or published network, fallback last.
    pub(in crate::fleet) fn names(rosters: &Rosters, network: &str) -> String {
        let roster = &rosters[&network.parse::<NetworkId>().unwrap()];
        roster.everyone().map(|member| member.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}
