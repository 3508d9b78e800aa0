//! `nodeweir node …`: edits of the node list. A bad edit is refused with its reason and changes nothing.

mod away;
mod put;

use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_domain::fleet::node::{Item, Role, list};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::NetworkId;
use nodeweir_store::FleetStore as _;
use nodeweir_store::sqlite::SqliteStore;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::args::{Attributes, Named, Node as Command};
use crate::context::{Context, Usage};
use crate::output::{Outcome, Output, Tone};
use crate::report::gather;

/// How long an edit waits to see what became of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(command: Command, context: &Context, output: Output) -> Result<Outcome> {
    let store = context.store()?;
    let edit = Edit { context, store: &store, output };
    match command {
        Command::List { network } => edit.list(network).await,
        Command::Add { node, url, attributes, role, change } => {
            let mut item =
                Item { network: node.network.to_string(), node: node.name.to_string(), attributes: Map::new() };
            item.attributes.insert("url".to_owned(), Value::from(url));
            item.attributes.extend(role.map(|role| ("role".to_owned(), Value::from(role))));
            apply(&mut item.attributes, attributes);
            if edit.find(&node).await?.is_some() {
                bail!("{}/{} is in the list already; change it with `nodeweir node edit`", node.network, node.name);
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

struct Edit<'a> {
    context: &'a Context,
    store: &'a SqliteStore,
    output: Output,
}

impl Edit<'_> {
    async fn list(&self, network: Option<NetworkId>) -> Result<Outcome> {
        if let Some(network) = &network {
            self.known(network)?;
        }
        let now = Timestamp::now();
        let object = self.context.published()?;
        let mut report =
            gather(self.context, self.store, &object, self.context.runtime(self.store).await?, now).await?;
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
        let networks = &self.context.config.networks;
        if networks.contains_key(network) {
            return Ok(());
        }
        let known: Vec<_> = networks.keys().map(NetworkId::as_str).collect();
        bail!("there is no network {network} in {}; it has {}", self.context.file.display(), known.join(", "))
    }

    async fn find(&self, node: &Named) -> Result<Option<Item>> {
        let items = self.store.items().await?;
        // The configuration's leaders are in the list even before `up` has written them there.
        let missing = list(&items, &self.context.config).missing;
        let is_it = |item: &Item| item.network == node.network.as_str() && item.node == node.name.as_str();
        Ok(items.into_iter().chain(missing).find(is_it))
    }

    async fn need(&self, node: &Named) -> Result<Item> {
        match self.find(node).await? {
            Some(item) => Ok(item),
            None => {
                self.known(&node.network)?;
                bail!("there is no node {} in {}; `nodeweir node list` shows those there are", node.name, node.network)
            }
        }
    }

    /// The published revision, if it is the one that runs.
    async fn live(&self) -> Result<Option<Revision>> {
        use nodeweir_control::edges::PublishedObject as _;
        let Some((_, text)) = self.context.published()?.get().await? else { return Ok(None) };
        let Ok(revision) = Revision::parse(&text) else { return Ok(None) };
        let running = self.context.runtime(self.store).await?.and_then(|runtime| runtime.running);
        Ok(Some(revision).filter(|revision| running == Some(revision.name())))
    }

    /// Looks until `found` is, or patience ends.
    async fn wait<T>(&self, found: impl AsyncFn() -> Result<Option<T>>) -> Result<Option<T>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = found().await?;
            if now.is_some() || Instant::now() >= deadline || !self.context.is_up() {
                return Ok(now);
            }
            sleep(LOOK).await;
        }
    }
}
