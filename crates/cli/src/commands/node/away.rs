//! Taking nodes away: remove, cordon, drain.

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_control::listing;
use nodeweir_domain::fleet::judge::State;
use nodeweir_domain::fleet::node::{Cordon as Cordoned, Item, Node, Role};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::text::show_duration;
use nodeweir_store::{FleetStore as _, Written};
use serde_json::json;
use tokio::time::sleep;

use super::Edit;
use crate::args::{Change, Cordon, Named};
use crate::context::{Usage, who};
use crate::output::Outcome;
use crate::place::Place;

impl<P: Place> Edit<'_, P> {
    /// Refuses to take the last healthy own node of a network away, unless forced.
    async fn spare(&self, node: &Named, verb: &str, change: Change) -> Result<()> {
        let listed = listing::read(self.place.store(), self.config()).await?;
        let health = self.place.store().health().await?;
        let now = Timestamp::now();
        let serves = |one: &&Node| {
            one.role == Role::Node
                && !one.is_cordoned(now)
                && health.get(&one.network).is_some_and(|health| health.state(one) == State::Healthy)
        };
        let healthy: Vec<&Node> = listed.of(&node.network).filter(serves).collect();
        if let [last] = healthy.as_slice()
            && last.name == node.name
            && !change.force
        {
            bail!(
                "{}/{} was not {verb}: it is the last healthy node of {}, and all traffic would go to the leader; \
                 add --force if that is meant",
                node.network,
                node.name,
                node.network
            );
        }
        Ok(())
    }

    pub(super) async fn remove(&self, node: &Named, change: Change) -> Result<Outcome> {
        let item = self.need(node).await?;
        let about = format!("{}/{}", node.network, node.name);
        let leader = self.config().networks.get(&node.network).map(|network| &network.leader.name);
        if leader == Some(&node.name) {
            bail!(
                "{about} was not removed: the configuration names it as the leader, and the next run would write it again; remove it there, or {} it",
                self.place.command("node cordon")
            );
        }
        self.spare(node, "removed", change).await?;
        if change.dry_run {
            self.output.say(&format!("would be removed: {about}"), &json!({"dry_run": true, "item": item}));
            return Ok(Outcome::Fine);
        }
        if self.place.store().remove_item(&item).await? == Written::Lost {
            bail!(
                "{about} was changed by somebody else at the same moment; look at {} and try again",
                self.place.command("node list")
            );
        }
        self.record(&item, "removed").await?;
        self.say_gone(node, "removed", change).await
    }

    /// Waits for a node that was just taken away to get no new requests, and says so.
    async fn say_gone(&self, node: &Named, done: &str, change: Change) -> Result<Outcome> {
        let patience = change.wait.unwrap_or(self.place.waiting().edit);
        let gone = self.wait(patience, async || Ok(self.place.taken_up().await?.filter(is_without(node))));
        let gone = gone.await?.is_some();
        let words = self.place.words(patience);
        let what = match (gone, self.place.is_kept()) {
            (true, _) => words.gone,
            (false, true) => words.late,
            (false, false) => words.idle,
        };
        let line = format!("{}/{} {done}; {what}", node.network, node.name);
        self.output.say(&line, &json!({"changed": true, "live": gone}));
        Ok(Outcome::Fine)
    }

    pub(super) async fn cordon(&self, cordon: Cordon) -> Result<Outcome> {
        match self.keep_away(&cordon, "cordoned").await? {
            Some(_) => self.say_gone(&cordon.node, "cordoned", cordon.change).await,
            None => Ok(Outcome::Fine),
        }
    }

    /// Writes the cordon; what the item is then, or nothing if it was a dry run.
    async fn keep_away(&self, cordon: &Cordon, verb: &str) -> Result<Option<Item>> {
        let before = self.need(&cordon.node).await?;
        self.spare(&cordon.node, verb, cordon.change).await?;
        let now = Timestamp::now();
        let until = match cordon.for_ {
            Some(time) => Some(now.checked_add(time).map_err(|_| Usage("--for is too long".to_owned()))?),
            None => None,
        };
        let written = Cordoned { by: who(), why: cordon.why.clone(), at: now, until };
        let mut item = before.clone();
        item.attributes.insert("cordon".to_owned(), serde_json::to_value(written)?);
        if cordon.change.dry_run {
            self.put(Some(before), item, verb, cordon.change).await?;
            return Ok(None);
        }
        self.write(Some(&before), &item, "cordoned").await?;
        Ok(Some(item))
    }

    /// Cordons, waits until the proxy runs without the node, then as long as a request that was already on its way
    /// can last.
    pub(super) async fn drain(&self, cordon: Cordon) -> Result<Outcome> {
        let Some(item) = self.keep_away(&cordon, "drained").await? else { return Ok(Outcome::Fine) };
        let about = format!("{}/{}", cordon.node.network, cordon.node.name);
        if !self.place.is_kept() {
            let line = format!("{about} cordoned; `nodeweir up` does not run, so there is nothing to wait for");
            self.output.say(&line, &json!({"changed": true, "drained": false}));
            return Ok(Outcome::Degraded);
        }
        let patience = cordon.change.wait.unwrap_or(self.place.waiting().drain);
        if let Some(what) = self.place.words(patience).draining.filter(|_| !self.output.json) {
            self.output.line(&format!("{about} cordoned; {what}"));
        }
        let gone = self.wait(patience, async || Ok(self.place.in_service().await?.filter(is_without(&cordon.node))));
        if gone.await?.is_none() {
            bail!(
                "{about} is cordoned, but the proxy did not take it up in {}; see {}",
                show_duration(patience),
                self.place.command("status")
            );
        }
        let times = &self.config().proxy.timeouts;
        // A WebSocket has no end of its own; the old workers that carry it are ended after the shutdown time.
        let left = if item.attributes.contains_key("ws_url") { times.shutdown } else { times.total };
        if !self.output.json {
            self.output.line(&format!(
                "{about} gets no new requests; those on their way last {} at most",
                show_duration(left)
            ));
        }
        sleep(left).await;
        self.output.say(&format!("{about} is drained"), &json!({"changed": true, "drained": true}));
        Ok(Outcome::Fine)
    }
}

/// Whether a revision sends no requests to the node.
fn is_without(node: &Named) -> impl Fn(&Revision) -> bool {
    |revision| {
        let roster = revision.rosters.get(&node.network);
        !roster.is_some_and(|roster| roster.everyone().any(|member| member.name == node.name))
    }
}
