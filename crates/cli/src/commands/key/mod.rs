//! `nodeweir key …`: how a project's applications prove who they are. A key's text is shown once, by the command that
//! made it; nothing else ever knows it.

mod change;
pub(crate) mod make;
mod show;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyStatus};
use nodeweir_domain::name::{KeyName, NetworkId, ProjectId};
use nodeweir_domain::read::did_you_mean;
use nodeweir_store::{Event, FleetStore as _, GateStore as _, Written};

use super::project::{UNRECORDED, need};
use crate::args::{Key as Command, NamedKey, Uses};
use crate::context::{Usage, who};
use crate::output::{Outcome, Output, without_keys};
use crate::place::Place;

pub(super) use show::{Shown, shown_time, table};

/// How long it takes at most until every gate refuses a key that was revoked.
const EFFECTIVE: &str = "30s";

pub(super) async fn run(command: Command, place: &impl Place, output: Output) -> Result<Outcome> {
    let desk = Desk { place, output };
    match command {
        Command::Create { project, name, uses, dry_run } => desk.create(project, name, uses, dry_run).await,
        Command::List { project } => desk.list(&project).await,
        Command::Show { key } => desk.show(&key).await,
        Command::Restrict { key, uses, clear, dry_run } => desk.restrict(&key, uses, &clear, dry_run).await,
        Command::Rotate { key, keep_old, dry_run } => desk.rotate(&key, keep_old, dry_run).await,
        Command::Revoke { key, dry_run } => desk.revoke(&key, dry_run).await,
    }
}

struct Desk<'a, P> {
    place: &'a P,
    output: Output,
}

impl<P: Place> Desk<'_, P> {
    /// The key that is meant: one in use by its name, any by its id, the last revoked one of a name.
    async fn need(&self, named: &NamedKey) -> Result<Key> {
        let project = need(self.place, &named.project).await?;
        let keys = self.place.store().keys(&project.id).await?;
        let by_name = |key: &&Key| key.name.as_str() == named.key;
        let found = keys.iter().filter(by_name).find(|key| key.revoked.is_none());
        let found = found.or_else(|| keys.iter().find(|key| key.id().as_str() == named.key));
        let found = found.or_else(|| keys.iter().filter(by_name).max_by_key(|key| key.revoked));
        if let Some(key) = found {
            return Ok(key.clone());
        }
        // It may be a key itself, or an address with one.
        if without_keys(&named.key) != named.key {
            return Err(Usage("that is the key itself; name it by its name or id".to_owned()).into());
        }
        let about = format!("{} has no key {:?}", project.id, named.key.chars().take(60).collect::<String>());
        match did_you_mean(&named.key, keys.iter().map(|key| key.name.as_str())) {
            near if near.is_empty() => {
                let list = self.place.command(&format!("key list {}", project.id));
                bail!("{about}; {list} shows those there are")
            }
            near => bail!("{about}{near}"),
        }
    }

    /// One that can still be changed.
    async fn need_unrevoked(&self, named: &NamedKey, verb: &str) -> Result<Key> {
        let key = self.need(named).await?;
        if let KeyStatus::Revoked(at) = key.status(Timestamp::now()) {
            bail!("{} was not {verb}: it was revoked at {}; make another one", about(&key), shown_time(at));
        }
        Ok(key)
    }

    /// Refuses flags that name what is not there, or cannot be given.
    fn check(&self, uses: &Uses) -> Result<()> {
        let networks = &self.place.context().config.networks;
        if let Some(unknown) = uses.network.iter().find(|network| !networks.contains_key(*network)) {
            let near = did_you_mean(unknown.as_str(), networks.keys().map(NetworkId::as_str));
            let known: Vec<_> = networks.keys().map(NetworkId::as_str).collect();
            bail!(
                "there is no network {unknown} in {}{near}; it has {}",
                self.place.context().file.display(),
                known.join(", ")
            );
        }
        super::project::able(&uses.grant_method)
    }

    /// Says that the write came too late, if it did.
    fn done(&self, written: Written, project: &ProjectId) -> Result<()> {
        if written == Written::Lost {
            let list = self.place.command(&format!("key list {project}"));
            bail!(
                "the keys of {project} were changed by somebody else at the same moment; look at {list} and try again"
            );
        }
        Ok(())
    }

    /// Notes in the history what was done.
    async fn record(&self, what: &str) -> Result<()> {
        let event = Event {
            at: Timestamp::now(),
            who: who(),
            kind: "key".to_owned(),
            network: None,
            node: None,
            what: what.to_owned(),
        };
        self.place.store().record_events(&[event]).await.context(UNRECORDED)
    }
}

/// `shop/web (3f2a91c0b7de)`.
fn about(key: &Key) -> String {
    format!("{}/{} ({})", key.project, key.name, key.id())
}

/// A moment to come, from a flag.
fn to_come(flag: &str, at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
    match at {
        Some(at) if at > now => Ok(at),
        Some(at) => Err(Usage(format!("{flag} is {}, which is past", shown_time(at))).into()),
        None => Err(Usage(format!("{flag} is too long")).into()),
    }
}

/// What a rotated key is called from then on: its id makes the name unique.
fn old_name(key: &Key) -> Result<KeyName> {
    const MOST: usize = 40;
    let end = format!("-old-{}", key.id());
    let mut start = key.name.to_string();
    start.truncate(MOST - end.len());
    Ok(format!("{}{end}", start.trim_end_matches('-')).parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeweir_domain::gate::key::KeyDigest;
    use nodeweir_domain::gate::restrict::Restrictions;

    #[test]
    fn every_name_leaves_room_for_old() {
        for name in ["a", "default", &"a".repeat(40), &format!("{}-b", "a".repeat(22))] {
            let key = Key {
                digest: KeyDigest::of(name),
                project: "shop".parse().unwrap(),
                name: name.parse().unwrap(),
                restrictions: Restrictions::default(),
                created: Timestamp::UNIX_EPOCH,
                expires: None,
                revoked: None,
            };
            let old = old_name(&key).unwrap();
            assert!(old.as_str().ends_with(&format!("-old-{}", key.id())), "{old}");
            assert!(!old.as_str().contains("--"), "{old}");
        }
    }
}
