//! What must hold, whatever happens.
//!
//! An edit may come after a run has read the list, so what a run publishes is measured by what it had read; only a
//! run that nothing disturbed is measured by what is there.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use nodeweir_control::probe::{Report, Scope};
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::judge::{Flip, Health, State as Judged};
use nodeweir_domain::fleet::node::{Item, Listed, Node, Role, list};
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::plan::{Plan, Step, World as Plannable, plan};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::fleet::roster::{Rosters, decide};
use nodeweir_domain::name::NetworkId;

use crate::clock::apart;
use crate::edges::Edges;
use crate::object::Object;
use crate::store::{Key, key};
use crate::text::stranger;
use crate::world::{Record, State};

/// What was done, kept apart from where it was done, so that a loss shows.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    items: BTreeMap<Key, Item>,
    /// What they come to, once somebody asked.
    listed: OnceCell<Arc<Listed>>,
    /// Items that operators removed.
    pub(crate) removed: Vec<Item>,
    /// The name of each revision that a flow published.
    published: BTreeMap<u64, String>,
    /// Every name that ever stood in the object, by a flow or by hand.
    pub(crate) names: BTreeSet<String>,
    /// The newest version of the object that was started.
    started: u64,
    /// The first invariant that was seen broken.
    pub(crate) broken: Option<String>,
}

impl Ledger {
    /// The list as operators wrote it, as far as it is usable.
    pub(crate) fn listed(&self, config: &Config) -> Arc<Listed> {
        let read = || Arc::new(list(&self.items.values().cloned().collect::<Vec<_>>(), config));
        self.listed.get_or_init(read).clone()
    }

    pub(crate) fn write(&mut self, item: Item) {
        self.listed.take();
        self.items.insert(key(&item), item);
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.listed.take();
        self.removed.extend(self.items.remove(key));
    }

    /// A revision is no longer expected in the history.
    pub(crate) fn excuse(&mut self, seq: u64) {
        self.published.remove(&seq);
    }
}

/// The nodes that may stand in a roster, and why one of a text's members may not.
fn fault(listed: &Listed, health: &BTreeMap<NetworkId, Health>, rosters: &Rosters, now: Timestamp) -> Option<String> {
    let unknown = Health::default();
    rosters.iter().find_map(|(network, roster)| {
        let health = health.get(network).unwrap_or(&unknown);
        roster.everyone().find_map(|member| {
            let node = listed.of(network).find(|node| node.name == member.name && node.address == member.address);
            let why = match node {
                None => "is not in the list",
                Some(node) if node.is_cordoned(now) => "is cordoned",
                Some(node) if health.is_on_wrong_chain(node) => "is on a wrong chain",
                Some(_) => return None,
            };
            Some(format!("{network}/{} {why}", member.name))
        })
    })
}

impl State {
    /// A run has just replaced the published object, which was `before`.
    pub(crate) fn check_put(&mut self, edges: &Edges, before: Option<&Object>) {
        let run = edges.run;
        let Some(object) = self.bucket.object.clone() else { return };
        let Some(revision) = &object.revision else {
            return self.broken("what is published is no revision");
        };
        let seq = revision.seq;
        let name = object.name.clone().unwrap_or_default();
        self.tell(|| format!("run {run} publishes {name}: {}", revision.reason));
        if self.ledger.published.keys().next_back().is_some_and(|newest| *newest >= seq) {
            self.broken(format!("revision {seq} does not count up"));
        }
        if revision.rosters.is_empty() || !revision.rosters.keys().eq(self.config.networks.keys()) {
            self.broken(format!("revision {seq} has not the networks of the configuration"));
        }
        let record = self.run(run).clone();
        match (&record.object, &record.items) {
            (Some((_, read)), _) if read.as_ref().map(|read| read.version) != before.map(|before| before.version) => {
                self.broken(format!("revision {seq} replaced a version that its run had not read"));
            }
            (Some((object, _)), Some((items, ..))) if object < items => {}
            _ => {
                let what = "was planned from a list that was read before the object's version";
                self.broken(format!("revision {seq} {what}"));
            }
        }
        if let Some(what) = fault_as_read(&record, &object, edges.now) {
            self.broken(format!("revision {seq}: {what}"));
        }
        if let Some(network) = self.contagion(&record, revision, edges.now) {
            self.broken(format!("revision {seq}: {network} would be served otherwise if it were alone"));
        }
        self.ledger.names.insert(name.clone());
        self.ledger.published.insert(seq, name);
    }

    /// A network whose roster in `revision` depends on another network's items.
    fn contagion(&self, record: &Record, revision: &Revision, now: Timestamp) -> Option<NetworkId> {
        let (_, items, _) = record.items.as_ref()?;
        let (_, object) = record.object.as_ref()?;
        let previous = match object {
            Some(object) => Some(object.revision.as_ref()?),
            // The history's newest stood in; whether it did at that moment is hard to tell afterwards.
            None if !self.table.revisions.is_empty() => return None,
            None => None,
        };
        let unknown = Health::default();
        let is_otherwise = |network: &NetworkId| {
            let own: Vec<Item> = items.iter().filter(|item| item.network == network.as_str()).cloned().collect();
            let listed = list(&own, &self.config);
            let nodes: Vec<&Node> = listed.of(network).collect();
            let health = record.health.get(network).unwrap_or(&unknown);
            let before = previous.and_then(|revision| revision.rosters.get(network));
            let tolerance = self.config.networks[network].max_lag_blocks;
            Some(&decide(&nodes, health, before, tolerance, now)) != revision.rosters.get(network)
        };
        let is_pinned =
            |network: &&NetworkId| record.pin.as_ref().is_some_and(|pin| pin.rosters.contains_key(*network));
        self.config.networks.keys().filter(|network| !is_pinned(network)).find(|network| is_otherwise(network)).cloned()
    }

    /// A revision is about to be started, or noted as started.
    pub(crate) fn check_start(&mut self, edges: &Edges, name: &str) {
        if !self.ledger.names.contains(name) {
            self.broken(format!("{name} starts and was never published"));
        }
        let read = self.run(edges.run).object.clone();
        let version = read.and_then(|(_, object)| object).map_or(0, |object| object.version);
        if version < self.ledger.started {
            self.broken(format!("{name} starts after what replaced it"));
        }
        self.ledger.started = self.ledger.started.max(version);
    }

    /// A run is about to begin a deployment. One that somebody began by hand, a clock that was set, or a run that was taken for
    /// dead may be in its way; one of any other run may not.
    pub(crate) fn check_deploy(&mut self, edges: &Edges) {
        if self.service.is_contested {
            return;
        }
        let Some(last) = self.service.last_start else { return };
        if let Some(under_way) = self.service.under_way() {
            let what = format!("two deployments at once: another one beside {}", under_way.shown.id);
            return self.broken(what);
        }
        let interval = self.config.rollout.min_interval;
        if apart(last, edges.now) < interval {
            self.broken(format!("two deployments within {interval:?}"));
        }
    }

    /// A flow is about to write an item; only the configured leader of a network that has no such item may be.
    pub(crate) fn check_item(&mut self, item: &Item) {
        let is_leader = self.config.networks.values().any(|network| {
            network.leader.network.as_str() == item.network && network.leader.name.as_str() == item.node
        });
        if !is_leader || self.ledger.items.contains_key(&key(item)) {
            self.broken(format!("the item {}/{} was overwritten by a flow", item.network, item.node));
        }
        self.ledger.write(item.clone());
    }

    /// A flow is about to end a rollback.
    pub(crate) fn check_unpin(&mut self, edges: &Edges, next: Option<&Pin>) {
        let record = self.run(edges.run).clone();
        let listed = record.items.map(|(_, _, listed)| listed).unwrap_or_default();
        let is_due = |pin: &Pin| pin.released(&self.config, &listed, &record.health, edges.now).is_some();
        if next.is_some() || !self.table.pin.as_ref().is_none_or(is_due) {
            self.broken("a rollback was ended or begun by a flow without a reason");
        }
    }

    /// The plan for the world as it is, made by nobody's run.
    pub(crate) fn plan_now(&self, health: &BTreeMap<NetworkId, Health>, now: Timestamp) -> Plan {
        let published = self.bucket.revision();
        plan(Plannable {
            config: &self.config,
            listed: &self.listed(),
            health,
            published,
            is_intact: published.is_some(),
            pin: self.table.pin.as_ref(),
            now,
        })
    }

    /// A run of the flow *publish* came to its end, and says that what should be published is.
    pub(crate) fn check_published(&mut self, edges: &Edges) {
        let record = self.run(edges.run).clone();
        let current = self.bucket.object.clone();
        let is_still_there =
            |read: &&Arc<Object>| current.as_ref().is_some_and(|object| object.version == read.version);
        let as_read = record.object.as_ref().and_then(|(_, object)| object.as_ref()).filter(is_still_there);
        if let Some(what) = as_read.and_then(|object| fault_as_read(&record, object, edges.now)) {
            self.broken(format!("what is published was left in place: {what}"));
        }
        if record.was_disturbed {
            return;
        }
        let Some(published) = self.bucket.revision() else {
            return self.broken("nothing readable is published after publishing");
        };
        if let Some(what) = fault(&self.listed(), &self.table.health, &published.rosters, edges.now) {
            self.broken(format!("undisturbed, and published all the same: {what}"));
        }
        let plan = self.plan_now(&self.table.health, edges.now);
        if plan.step != Step::Nothing {
            self.broken(format!("publishing undisturbed left something to do: {:?}", plan.step));
        }
    }

    /// A run of *probe* flipped somebody: not because it heard nobody, and not a whole network at first sight.
    pub(crate) fn check_flips(&mut self, edges: &Edges, scope: &Scope, report: &Report) {
        let record = self.run(edges.run).clone();
        if *scope == Scope::All && !record.got_answer && !report.flips.is_empty() {
            self.broken("a prober that nobody answered flipped somebody");
        }
        let unknown = Health::default();
        let fell_at_once = |network: &&NetworkId| {
            let before = record.health.get(*network).unwrap_or(&unknown);
            let mut own = report.listed.of(network).filter(|node| node.role == Role::Node).peekable();
            let falls = |node: &Node| {
                let is = |(id, flip): &(NetworkId, Flip)| {
                    id == *network && flip.node == node.name && flip.to == Judged::Unhealthy
                };
                before.state(node) == Judged::Healthy && report.flips.iter().any(is)
            };
            let is_wrong =
                |node: &Node| report.health.get(*network).is_some_and(|health| health.is_on_wrong_chain(node));
            before.seen.suspect_since.is_none()
                && own.peek().is_some()
                && own.all(|node| falls(node) && !is_wrong(node))
        };
        if let Some(network) = self.config.networks.keys().find(fell_at_once).cloned() {
            self.broken(format!("{network}: all own nodes fell without a second round"));
        }
    }

    /// After each step.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let is_kept = |(seq, name): &(&u64, &String)| {
            self.bucket.name() == Some(*name) || self.table.revisions.get(seq).is_some_and(|kept| kept.0 == **name)
        };
        if let Some((_, name)) = self.ledger.published.iter().find(|entry| !is_kept(entry)) {
            let what = format!("revision {name} is in no history");
            self.broken(what);
        }
        if self.table.items != self.ledger.items {
            self.broken("the node list is not what operators wrote");
        }
        self.ledger.broken.clone().map_or(Ok(()), Err)
    }
}

/// Who stands in a published object and may not, by what a run had read.
fn fault_as_read(record: &Record, object: &Object, now: Timestamp) -> Option<String> {
    let (_, _, listed) = record.items.as_ref()?;
    let stranger =
        || Some(format!("the text names {}, which is not in the list", stranger(&object.addresses, listed)?));
    fault(listed, &record.health, &object.revision.as_ref()?.rosters, now).or_else(stranger)
}
