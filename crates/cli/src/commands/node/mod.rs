//! `nodeweir node …`: edits of the node list. A bad edit is refused with its reason and changes nothing.

mod away;
mod put;

use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Item, Role, list};
use nodeweir_domain::name::NetworkId;
use nodeweir_store::FleetStore as _;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::args::{Attributes, Named, Node as Command};
use crate::context::Usage;
use crate::output::{Outcome, Output, Tone};
use crate::place::Place;
use crate::report::gather;

/// How often in a row a wait may fail to look.
const BLIND: u32 = 2;

pub(super) async fn run(command: Command, place: &impl Place, output: Output) -> Result<Outcome> {
    let edit = Edit { place, output };
    match command {
        Command::List { network } => edit.list(network).await,
        Command::Add { node, url, attributes, role, change } => {
            let mut item =
                Item { network: node.network.to_string(), node: node.name.to_string(), attributes: Map::new() };
            item.attributes.insert("url".to_owned(), Value::from(url));
            item.attributes.extend(role.map(|role| ("role".to_owned(), Value::from(role))));
            apply(&mut item.attributes, attributes);
            if edit.find(&node).await?.is_some() {
                let edit = place.command("node edit");
                bail!("{}/{} is in the list already; change it with {edit}", node.network, node.name);
            }
            edit.put(None, item, "added", change).await
        }
        Command::Edit { node, url, attributes, change } => {
            let before = edit.need(&node).await?;
            let mut item = before.clone();
            item.attributes.extend(url.map(|url| ("url".to_owned(), Value::from(url))));
            apply(&mut item.attributes, attributes);
            if item == before {
                return Err(
                    Usage(format!("nothing to change: {}/{} is like that already", node.network, node.name)).into()
                );
            }
            edit.put(Some(before), item, "edited", change).await
        }
        Command::Remove { node, change } => edit.remove(&node, change).await,
        Command::Cordon(cordon) => edit.cordon(cordon).await,
        Command::Uncordon { node, change } => {
            let before = edit.need(&node).await?;
            let mut item = before.clone();
            if item.attributes.remove("cordon").is_none() {
                edit.output.say(&format!("{}/{} is not cordoned", node.network, node.name), &json!({"changed": false}));
                return Ok(Outcome::Fine);
            }
            edit.put(Some(before), item, "uncordoned", change).await
        }
        Command::Drain(cordon) => edit.drain(cordon).await,
    }
}

/// Attributes that were named; an empty text removes one.
fn apply(item: &mut Map<String, Value>, attributes: Attributes) {
    let Attributes { weight, ws_url, host, note } = attributes;
    item.extend(weight.map(|weight| ("weight".to_owned(), Value::from(weight))));
    for (name, value) in [("ws_url", ws_url), ("host", host), ("note", note)] {
        match value {
            Some(value) if value.is_empty() => drop(item.remove(name)),
            Some(value) => drop(item.insert(name.to_owned(), Value::from(value))),
            None => {}
        }
    }
}

struct Edit<'a, P> {
    place: &'a P,
    output: Output,
}

impl<P: Place> Edit<'_, P> {
    fn config(&self) -> &Config {
        &self.place.context().config
    }

    async fn list(&self, network: Option<NetworkId>) -> Result<Outcome> {
        if let Some(network) = &network {
            self.known(network)?;
        }
        let now = Timestamp::now();
        let (context, object) = (self.place.context(), self.place.published()?);
        let mut report = gather(context, self.place.store(), &object, self.place.runs().await?, now).await?;
        report.networks.retain(|one| network.as_ref().is_none_or(|wanted| one.network == *wanted));
        if self.output.json {
            self.output.value(&json!({"networks": report.networks, "rejected": report.rejected}));
            return Ok(Outcome::Fine);
        }
        let rows = report.networks.iter().flat_map(|one| one.nodes.iter().map(move |node| (&one.network, node)));
        let rows = rows.map(|(network, node)| {
            let role = if node.role == Role::Leader { "leader" } else { "node" };
            let cordon = if node.cordon.is_some() { "yes" } else { "" };
            let cells = [
                network.to_string(),
                node.node.to_string(),
                role.to_owned(),
                node.weight.to_string(),
                node.state.to_string(),
                cordon.to_owned(),
                node.url.clone(),
            ];
            cells.map(|text| (Tone::Plain, text)).to_vec()
        });
        let table =
            self.output.table(&["NETWORK", "NODE", "ROLE", "WEIGHT", "STATE", "CORDONED", "URL"], rows.collect());
        self.output.line(&table);
        for item in &report.rejected {
            let line = format!("{}/{} is not usable: {}", item.network, item.node, item.why);
            self.output.line(&self.output.tone(Tone::Bad, &line));
        }
        Ok(Outcome::Fine)
    }

    fn known(&self, network: &NetworkId) -> Result<()> {
        let networks = &self.config().networks;
        if networks.contains_key(network) {
            return Ok(());
        }
        let known: Vec<_> = networks.keys().map(NetworkId::as_str).collect();
        bail!("there is no network {network} in {}; it has {}", self.place.context().file.display(), known.join(", "))
    }

    async fn find(&self, node: &Named) -> Result<Option<Item>> {
        let items = self.place.store().items().await?;
        // The configuration's leaders are in the list even before `up` has written them there.
        let missing = list(&items, self.config()).missing;
        let is_it = |item: &Item| item.network == node.network.as_str() && item.node == node.name.as_str();
        Ok(items.into_iter().chain(missing).find(is_it))
    }

    async fn need(&self, node: &Named) -> Result<Item> {
        match self.find(node).await? {
            Some(item) => Ok(item),
            None => {
                self.known(&node.network)?;
                let list = self.place.command("node list");
                bail!("there is no node {} in {}; {list} shows those there are", node.name, node.network)
            }
        }
    }

    /// Looks until `found` is, or patience ends. The edit is written, and a wait may be long: that it cannot look once or
    /// twice ends it not.
    async fn wait<T>(&self, patience: Duration, found: impl AsyncFn() -> Result<Option<T>>) -> Result<Option<T>> {
        let deadline = Instant::now() + patience;
        let mut failed = 0;
        loop {
            let now = match found().await {
                Err(error) if failed >= BLIND => return Err(error),
                Err(_) => {
                    failed += 1;
                    None
                }
                Ok(now) => {
                    failed = 0;
                    now
                }
            };
            if now.is_some() || Instant::now() >= deadline || !self.place.is_kept() {
                return Ok(now);
            }
            sleep(self.place.waiting().look).await;
        }
    }
}
