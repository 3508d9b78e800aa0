//! Adding and changing nodes, and waiting for what follows.

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_control::listing;
use nodeweir_domain::fleet::judge::State;
use nodeweir_domain::fleet::node::{Item, Listed, Node, Role, list};
use nodeweir_store::{Event, FleetStore as _, Written};
use serde_json::{Value, json};

use super::Edit;
use crate::args::Change;
use crate::context::who;
use crate::output::Outcome;
use crate::place::Place;

/// What became of an edited node.
struct Fate {
    state: State,
    why: Option<String>,
    /// Whether what runs agrees with it.
    is_live: bool,
}

impl<P: Place> Edit<'_, P> {
    /// Writes `item` over `before` if the list is right with it.
    pub(super) async fn put(&self, before: Option<Item>, item: Item, done: &str, change: Change) -> Result<Outcome> {
        let mut items = self.place.store().items().await?;
        // By its key: what somebody else wrote meanwhile is found below, and is no second item.
        items.retain(|old| (&old.network, &old.node) != (&item.network, &item.node));
        items.push(item.clone());
        let listed = list(&items, self.config());
        if let Some(rejected) = listed.rejected.iter().find(|bad| bad.network == item.network && bad.node == item.node)
        {
            bail!("{}/{} was not {done}: {}", item.network, item.node, rejected.why);
        }
        let about = format!("{}/{}", item.network, item.node);
        if change.dry_run {
            let line = format!("would be {done}: {about} {}", Value::Object(item.attributes.clone()));
            self.output.say(&line, &json!({"dry_run": true, "item": item}));
            return Ok(Outcome::Fine);
        }
        self.write(before.as_ref(), &item, done).await?;
        self.follow(&item, done, &listed, change).await
    }

    /// Writes `item` if what is there is still `before`, and notes who did.
    pub(super) async fn write(&self, before: Option<&Item>, item: &Item, done: &str) -> Result<()> {
        // `before` may be a leader that only stands in yet.
        listing::complete(self.place.store(), self.config()).await?;
        if self.place.store().put_item(before, item).await? == Written::Lost {
            bail!(
                "{}/{} was changed by somebody else at the same moment; look at {} and try again",
                item.network,
                item.node,
                self.place.command("node list")
            );
        }
        self.record(item, done).await
    }

    pub(super) async fn record(&self, item: &Item, done: &str) -> Result<()> {
        let event = Event {
            at: Timestamp::now(),
            who: who(),
            kind: "edit".to_owned(),
            network: Some(item.network.clone()),
            node: Some(item.node.clone()),
            what: format!("{done}: {}", Value::Object(item.attributes.clone())),
        };
        Ok(self.place.store().record_events(&[event]).await?)
    }

    /// Says what was done and, if anything takes it up, waits for what follows from it.
    async fn follow(&self, item: &Item, done: &str, listed: &Listed, change: Change) -> Result<Outcome> {
        let patience = change.wait.unwrap_or(self.place.waiting().edit);
        let words = self.place.words(patience);
        let about = format!("{}/{}", item.network, item.node);
        let node =
            listed.nodes.iter().find(|node| node.network.as_str() == item.network && node.name.as_str() == item.node);
        let (Some(node), true) = (node, self.place.is_kept()) else {
            let hint = if self.place.is_kept() { String::new() } else { format!("; {}", words.idle) };
            self.output.say(&format!("{about} {done}{hint}"), &json!({"changed": true, "item": item, "live": false}));
            return Ok(Outcome::Fine);
        };
        self.wait(patience, async || Ok(self.fate(node).await?.filter(|fate| fate.is_live).map(drop))).await?;
        let unknown = Fate { state: State::Unknown, why: Some("not probed yet".to_owned()), is_live: false };
        let fate = self.fate(node).await?.unwrap_or(unknown);
        let why = fate.why.map_or(String::new(), |why| format!(": {why}"));
        let traffic = match (fate.is_live, fate.state, node.role) {
            (true, State::Healthy, Role::Node) => format!("; {}", words.serves),
            (true, State::Healthy, Role::Leader) | (false, State::Healthy, _) => String::new(),
            (_, State::Unhealthy | State::Unknown, _) => "; it gets no traffic until it is healthy".to_owned(),
        };
        let late = if fate.is_live { String::new() } else { format!("; {}", words.late) };
        self.output.say(
            &format!("{about} {done}; it is {}{why}{traffic}{late}", fate.state),
            &json!({"changed": true, "item": item, "state": fate.state, "live": fate.is_live}),
        );
        Ok(if fate.state == State::Unhealthy { Outcome::Degraded } else { Outcome::Fine })
    }

    /// What became of `node` at its present address, once it was judged there.
    async fn fate(&self, node: &Node) -> Result<Option<Fate>> {
        let health = self.place.store().health().await?;
        let Some(status) = health.get(&node.network).and_then(|health| health.of(node)) else { return Ok(None) };
        let wanted = status.state == State::Healthy && !node.is_cordoned(Timestamp::now());
        let is_live = self.place.taken_up().await?.is_some_and(|revision| {
            let roster = revision.rosters.get(&node.network);
            let member = roster.and_then(|roster| roster.everyone().find(|member| member.name == node.name));
            let serves = member.is_some_and(|member| member.address == node.address && member.weight == node.weight);
            serves == wanted || node.role == Role::Leader
        });
        let why = status.reason.as_ref().map(ToString::to_string);
        Ok(Some(Fate { state: status.state, why, is_live }))
    }
}
