//! After the trouble: everything must become as it should be within a bounded time, and then stay untouched.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_control::deploying::{LastStart, Progress};
use nodeweir_domain::fleet::judge::{Health, is_blind, judge, stale};
use nodeweir_domain::fleet::node::{Node, Role};
use nodeweir_domain::fleet::plan::Step;
use nodeweir_domain::fleet::probe::Observation;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, NodeName};

use crate::nodes::Behaviour;
use crate::schedule::Play;
use crate::settings::NETWORKS;
use crate::world::State;

/// Within so many seconds all must be well: the leader's chain is asked for once an hour, a cordon or rollback ends
/// within half an hour of being set, and then a deployment or two follow, apart from each other.
const BOUND: u64 = 100 * 60;

/// How long nothing may be written once all is well: two rounds of the schedule.
const STILL: u64 = 11 * 60;

impl Play {
    /// Ends the trouble and waits; says how long it took.
    pub(crate) fn converge(&mut self) -> Result<u64, String> {
        let began = {
            let mut state = self.world.state();
            state.tell(|| "all is quiet".to_owned());
            state.trouble.is_on = false;
            state.settle_weather();
            self.is_deaf = state.rng.bool();
            state.clock.elapsed
        };
        loop {
            self.quiet_step()?;
            if !self.just_rested() {
                continue;
            }
            let unwell = self.world.state().unwell();
            let took = self.world.state().clock.elapsed - began;
            match unwell {
                None => {
                    self.stay_still()?;
                    return Ok(took);
                }
                Some(what) if took > BOUND => return Err(format!("not converged after {took}s of quiet: {what}")),
                Some(_) => {}
            }
        }
    }

    /// Nothing is written when there is no news.
    fn stay_still(&mut self) -> Result<(), String> {
        let (before, version) = self.world.state().written();
        for _ in 0..STILL / 10 {
            self.quiet_step()?;
            let (after, now) = self.world.state().written();
            if (before, version) != (after, now) {
                return Err(format!("no fixed point: {before:?} became {after:?}"));
            }
        }
        Ok(())
    }
}

impl State {
    fn written(&self) -> (crate::world::Writes, u64) {
        (self.writes, self.bucket.versions)
    }

    /// What is not yet as it should be, if anything.
    fn unwell(&self) -> Option<String> {
        let now = self.now();
        let soon = now + Duration::from_secs(STILL + 60);
        let listed = self.listed();
        let ends = listed.nodes.iter().filter_map(|node| node.cordon.as_ref()?.until);
        if ends.chain(self.table.pin.as_ref().map(|pin| pin.until)).any(|end| now < end && end <= soon) {
            return Some("a cordon or rollback is about to end".to_owned());
        }
        let Some(published) = self.bucket.revision() else { return Some("nothing is published".to_owned()) };
        let name = published.name();
        if let Some(what) = if self.settings.is_local { self.idle(&name) } else { self.undeployed(&name) } {
            return Some(format!("{name} is published, {what}"));
        }
        let settled = self.settled(self.table.health.clone());
        if let Some(node) = self.differing(&self.table.health, &settled, |_| true) {
            return Some(format!("the next ticks would change the health of {node}"));
        }
        // Where a leader tells the head there is one truth, whatever was known before.
        let mut fresh = self.settled(BTreeMap::new());
        if let Some(node) = self.differing(&self.table.health, &fresh, |id| self.has_good_leader(id)) {
            return Some(format!("somebody who knows nothing would judge {node} otherwise"));
        }
        for (id, health) in &self.table.health {
            if let Some(gone) = health.statuses.keys().find(|name| listed.of(id).all(|node| node.name != **name)) {
                return Some(format!("{id}/{gone} has a status and is gone"));
            }
            if !self.has_good_leader(id) {
                fresh.insert(id.clone(), health.clone());
            }
        }
        for health in [&self.table.health, &settled, &fresh] {
            let step = self.plan_now(health, now).step;
            if step != Step::Nothing {
                return Some(format!("the plan for the true state is {step:?}"));
            }
        }
        self.config.networks.keys().find_map(|id| self.unserved(id, published, now))
    }

    /// Why the process does not run this revision.
    fn idle(&self, name: &String) -> Option<String> {
        let is_rejected = self.process.rejected.as_ref().is_some_and(|(rejected, _)| rejected == name);
        let is_running = self.process.running.as_ref() == Some(name);
        (!is_running && !is_rejected).then(|| format!("{:?} runs", self.process.running))
    }

    /// Why the tasks do not run this revision, or may soon be replaced.
    fn undeployed(&self, name: &String) -> Option<String> {
        let Some(primary) = self.service.primary() else { return Some("nothing was ever deployed".to_owned()) };
        if let Some(other) = self.service.known.iter().find(|one| one.shown.progress != Progress::Completed) {
            return Some(format!("deployment {} is {:?}", other.shown.id, other.shown.progress));
        }
        // A deployment that nobody noted, or noted for what was replaced before its tasks read, is followed by another.
        let is_of = |note: &LastStart| match &note.deployment {
            Some(id) => *id == primary.shown.id,
            None => note.replaces.as_ref() != Some(&primary.shown.id),
        };
        let noted = self.service.note.as_ref().filter(|note| is_of(note)).map(|note| &note.revision);
        if noted != Some(name) {
            return Some(format!("deployment {} was noted for {noted:?}", primary.shown.id));
        }
        // Who could not read it looks again every few seconds.
        let other = primary.read.as_ref().filter(|read| *read != name)?;
        Some(format!("the tasks of {} read {other}", primary.shown.id))
    }

    /// Health after a few more ticks of seeing things as they are.
    fn settled(&self, mut health: BTreeMap<NetworkId, Health>) -> BTreeMap<NetworkId, Health> {
        let listed = self.listed();
        let observe = |node: &Node| (node.name.clone(), self.truth(node, true));
        for round in 1..=5 {
            let now = self.now() + Duration::from_secs(60 * round);
            let seen: Vec<(NetworkId, BTreeMap<NodeName, Observation>)> =
                self.config.networks.keys().map(|id| (id.clone(), listed.of(id).map(observe).collect())).collect();
            let is_blind = is_blind(seen.iter().flat_map(|(_, observations)| observations.values()));
            for (id, observations) in seen {
                let before = health.remove(&id).unwrap_or_default();
                let nodes: Vec<&Node> = listed.of(&id).collect();
                let confirm_after = self.config.health.confirm_after;
                let network = &self.config.networks[&id];
                let after = if is_blind {
                    stale(&before, now)
                } else {
                    judge(network, confirm_after, &nodes, &before, &observations, now).health
                };
                health.insert(id, after);
            }
        }
        health
    }

    /// A node of the networks in question whose health differs by more than numbers.
    fn differing(
        &self,
        a: &BTreeMap<NetworkId, Health>,
        b: &BTreeMap<NetworkId, Health>,
        is_in_question: impl Fn(&NetworkId) -> bool,
    ) -> Option<String> {
        let listed = self.listed();
        let differ = |node: &&Node| {
            let [a, b] = [a, b].map(|health| health.get(&node.network)?.of(node));
            match (a, b) {
                (None, None) => false,
                (Some(a), Some(b)) => {
                    a.state != b.state
                        || match (&a.reason, &b.reason) {
                            (None, None) => false,
                            (Some(a), Some(b)) => !a.is_same_kind(b),
                            _ => true,
                        }
                }
                _ => true,
            }
        };
        let node = listed.nodes.iter().filter(|node| is_in_question(&node.network)).find(differ)?;
        Some(format!("{}/{}", node.network, node.name))
    }

    /// Whether a network's leader answers for the right chain.
    fn has_good_leader(&self, network: &NetworkId) -> bool {
        let answers = |node: &Node| {
            let answer = self.truth(node, true).outcome.ok();
            answer.is_some_and(|answer| answer.chain_id == Some(self.config.networks[network].chain_id))
        };
        self.listed().of(network).any(|node| node.role == Role::Leader && answers(node))
    }

    /// Where nobody lies and the leader is in step, the rule can be told in a sentence, without the judge: the own
    /// nodes that are up, on the right chain, near enough to the head and not cordoned get the traffic, by weight.
    fn unserved(&self, network: &NetworkId, published: &Revision, now: Timestamp) -> Option<String> {
        let chain = NETWORKS.iter().position(|name| *name == network.as_str())?;
        let tolerance = self.config.networks[network].max_lag_blocks;
        let listed = self.listed();
        let behaviour =
            |node: &Node| self.machines.at(&node.address.url).filter(|m| m.chain == chain).map(|m| &m.behaviour);
        let is_in_step = |node: &Node| matches!(behaviour(node), Some(Behaviour::InStep | Behaviour::Slow));
        let is_simple = listed.of(network).all(|node| !matches!(behaviour(node), Some(Behaviour::Ahead(_))))
            && listed.of(network).any(|node| node.role == Role::Leader && is_in_step(node))
            && self.table.pin.is_none();
        let serves = |node: &&Node| {
            let is_near = matches!(behaviour(node), Some(Behaviour::Behind(blocks)) if *blocks <= tolerance);
            node.role == Role::Node && (is_near || is_in_step(node)) && !node.is_cordoned(now)
        };
        let wanted: Vec<(&NodeName, u16)> =
            listed.of(network).filter(serves).map(|node| (&node.name, node.weight)).collect();
        let got: Vec<_> = published.rosters.get(network)?.members.iter().map(|m| (&m.name, m.weight)).collect();
        let is_wrong = is_simple && !wanted.is_empty() && wanted != got;
        is_wrong.then(|| format!("{network} is served by {got:?}, {wanted:?} would be right"))
    }
}
