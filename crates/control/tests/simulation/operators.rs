//! What people do: edit the list, sensibly or not, roll back, and lay hands on the published object.

use std::time::Duration;

use nodeweir_domain::fleet::node::Item;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::NetworkId;
use serde_json::{Map, Value, json};

use crate::nodes::Machines;
use crate::settings::NETWORKS;
use crate::store::key;
use crate::trouble::Kind;
use crate::world::State;

/// Names of items; the last two are the configured leaders'.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "infura", "alchemy"];

/// What an act leads to.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Nothing,
    /// The list of a network was edited; a name nobody knows belongs to no network.
    Edited(Option<NetworkId>),
    /// A rollback was begun or ended.
    Pinned,
    /// The published object was replaced or deleted.
    Damaged,
}

/// Times that operators set lie at most so many seconds ahead.
const LONGEST: u64 = 1800;

impl State {
    /// Somebody does something.
    pub(crate) fn operate(&mut self) -> Act {
        let (act, kind) = match self.rng.u32(..20) {
            0..16 => (Self::edit as fn(&mut Self) -> Act, Kind::Edits),
            16..18 => (Self::roll_back as _, Kind::Rollbacks),
            18 if !self.settings.is_local => (Self::deploy as _, Kind::Deployments),
            _ => (Self::lay_hands_on_object as _, Kind::Hands),
        };
        if !self.is_troubled_by(kind) {
            return Act::Nothing;
        }
        let act = act(self);
        if !matches!(act, Act::Nothing) {
            self.changed(None);
        }
        act
    }

    fn deploy(&mut self) -> Act {
        self.deploy_by_hand();
        Act::Nothing
    }

    fn edit(&mut self) -> Act {
        let index = self.rng.usize(..NETWORKS.len());
        let (network, name) = (NETWORKS[index], *self.rng.choice(&NAMES).unwrap());
        let at = (network.to_owned(), name.to_owned());
        let found = self.table.items.get(&at).cloned();
        let attributes = found.as_ref().map(|item| item.attributes.clone());
        let (said, attributes) = match (attributes, self.rng.u32(..20)) {
            (_, 0) => return self.write_garbage(),
            (None, 1..10) => ("adds", Some(self.new_attributes(index))),
            (Some(_), 1) => ("removes", None),
            (Some(_), 2) => ("rewrites", Some(self.new_attributes(index))),
            (Some(mut attributes), choice @ 3..) => {
                let Some(said) = self.change(&mut attributes, index, choice) else { return Act::Nothing };
                (said, Some(attributes))
            }
            _ => return Act::Nothing,
        };
        let shown = attributes.as_ref().map(|attributes| Value::Object(attributes.clone()).to_string());
        self.tell(|| format!("operator {said} {network}/{name} {}", shown.unwrap_or_default()));
        match attributes {
            Some(attributes) => self.write(Item { network: at.0, node: at.1, attributes }),
            None => {
                self.table.items.remove(&at);
                self.ledger.remove(&at);
            }
        }
        Act::Edited(network.parse().ok())
    }

    fn write(&mut self, item: Item) {
        self.table.items.insert(key(&item), item.clone());
        self.ledger.write(item);
    }

    fn new_attributes(&mut self, network: usize) -> Map<String, Value> {
        let mut attributes = Map::new();
        attributes.insert("url".to_owned(), Machines::any_url(&mut self.rng, network).into());
        if self.percent(30) {
            attributes.insert("weight".to_owned(), self.rng.u32(1..=100).into());
        }
        if self.percent(20) {
            let ws = format!("ws://10.{}.0.{}:8546", network + 1, self.rng.u32(..7));
            attributes.insert("ws_url".to_owned(), ws.into());
        }
        attributes
    }

    /// Changes one thing of an item; says what, if anything.
    fn change(&mut self, attributes: &mut Map<String, Value>, network: usize, choice: u32) -> Option<&'static str> {
        let mut set = |key: &str, value: Value| drop(attributes.insert(key.to_owned(), value));
        Some(match choice {
            3..5 => {
                set("url", Machines::any_url(&mut self.rng, network).into());
                "moves"
            }
            5 => {
                set("weight", self.rng.u32(..130).into());
                "weighs"
            }
            6..9 => {
                set("cordon", json!({"by": "me", "at": self.now().to_string()}));
                "cordons"
            }
            9..11 => {
                let until = self.now() + Duration::from_secs(self.rng.u64(1..LONGEST));
                set("cordon", json!({"by": "me", "until": until.to_string()}));
                "cordons for a while"
            }
            11..14 => {
                attributes.remove("cordon")?;
                "uncordons"
            }
            14 => {
                set("role", self.rng.choice(["leader", "node", "king"]).unwrap().into());
                "gives a role to"
            }
            15 => {
                set("url", self.rng.choice(["http://a b;", "10.1.0.1", "http://169.254.169.254", ""]).unwrap().into());
                "spoils the URL of"
            }
            16 => {
                set("wieght", 3.into());
                "mistypes a key of"
            }
            17 => {
                set("cordon", json!("yes"));
                "mistypes the cordon of"
            }
            18 => {
                set("weight", json!({"url": "}"}));
                "nests nonsense in"
            }
            _ => {
                set("note", "}\n; drop".into());
                "notes something at"
            }
        })
    }

    /// Something that is no node of any network.
    fn write_garbage(&mut self) -> Act {
        let network = *self.rng.choice(&["nowhere", "ethereum\n", "", "ethereum"]).unwrap();
        let node = *self.rng.choice(&["x{};", "", "Ä", "../a"]).unwrap();
        let attributes = Map::from_iter([("url".to_owned(), json!(["no", {"url": "}"}]))]);
        self.tell(|| format!("operator writes garbage at {network:?}/{node:?}"));
        self.write(Item { network: network.to_owned(), node: node.to_owned(), attributes });
        Act::Edited(network.parse().ok())
    }

    fn roll_back(&mut self) -> Act {
        if self.table.pin.take().is_some() {
            self.tell(|| "operator ends the rollback".to_owned());
            return Act::Pinned;
        }
        let seqs: Vec<u64> = self.table.revisions.keys().copied().collect();
        let Some(seq) = self.rng.choice(&seqs).copied() else { return Act::Nothing };
        let (at, rosters) = (self.now(), self.table.revisions[&seq].1.rosters.clone());
        let until = at + Duration::from_secs(self.rng.u64(30..LONGEST));
        self.table.pin = Some(Pin { revision: seq, rosters, by: "me".into(), why: String::new(), at, until });
        self.tell(|| format!("operator rolls back to revision {seq} until {until}"));
        Act::Pinned
    }

    /// Somebody deletes, cuts off, rewrites, renumbers or restores the published object.
    ///
    /// Whoever destroys a revision before anybody could copy it into the history has destroyed it; that is excused.
    /// Not simulated are the two ways in which a number is taken twice: destroying a revision just while the run that
    /// published it is about to copy it, and deleting what was published in the place of nothing before another run
    /// that had found nothing there puts its own.
    fn lay_hands_on_object(&mut self) -> Act {
        let Some(object) = self.bucket.object.clone() else { return Act::Nothing };
        let text = &object.text;
        let seq = object.revision.as_ref().map(|revision| revision.seq);
        if let Some(seq) = seq.filter(|seq| !self.table.revisions.contains_key(seq)) {
            if !self.runs.is_empty() {
                return Act::Nothing;
            }
            self.ledger.excuse(seq);
        }
        let (said, text) = match self.rng.u32(..5) {
            0 if self.runs.values().any(|run| matches!(run.object, Some((_, None)))) => return Act::Nothing,
            0 => ("deletes", None),
            1 => ("cuts off", Some(text.chars().take(self.rng.usize(..text.len())).collect())),
            2 => ("rewrites", Some(text.replace("server", "server evil.example:1; server"))),
            3 => {
                let Some(revision) = object.revision.clone() else { return Act::Nothing };
                let seq = (revision.seq + self.rng.u64(..6)).saturating_sub(3).max(1);
                ("renumbers", Some(Revision { seq, ..revision }.compose()))
            }
            _ => {
                let revisions: Vec<&Revision> = self.table.revisions.values().map(|(_, revision)| revision).collect();
                let Some(revision) = self.rng.choice(revisions) else { return Act::Nothing };
                ("restores an earlier version of", Some(revision.compose()))
            }
        };
        self.bucket.replace(text);
        let name = self.bucket.name().cloned();
        self.tell(|| format!("operator {said} the published object: {}", name.as_deref().unwrap_or("unreadable")));
        self.ledger.names.extend(name);
        Act::Damaged
    }
}
