//! Making keys, the only place where one is ever seen.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use nodeweir_domain::gate::key::{Key, KeyId, Secret};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::{KeyName, ProjectId};
use nodeweir_store::GateStore as _;
use serde_json::{Value, json};

use super::show::{Shown, may, shown_time};
use super::{Desk, about, old_name, to_come};
use crate::args::{NamedKey, Uses};
use crate::commands::project::need;
use crate::context::Usage;
use crate::output::{Outcome, Tone};
use crate::place::Place;

impl<P: Place> Desk<'_, P> {
    pub(super) async fn create(&self, project: ProjectId, name: KeyName, uses: Uses, dry_run: bool) -> Result<Outcome> {
        let project = need(self.place, &project).await?.id;
        if name.as_str().parse::<KeyId>().is_ok() {
            return Err(Usage(format!("{name} looks like a key's id; choose another name")).into());
        }
        let keys = self.place.store().keys(&project).await?;
        let now = Timestamp::now();
        if let Some(other) = keys.iter().find(|key| key.name == name && key.revoked.is_none()) {
            bail!(
                "{} is there already and {}; rotate it, revoke it, or choose another --name",
                about(other),
                other.status(now)
            );
        }
        self.check(&uses)?;
        let expires = match uses.expires {
            Some(moment) => Some(to_come("--expires", moment.after(now), now)?),
            None => None,
        };
        let restrictions = super::change::replaced(Restrictions::default(), uses);
        let secret = random()?;
        let key = Key { digest: secret.digest(), project, name, restrictions, created: now, expires, revoked: None };
        let until = expires.map_or(String::new(), |at| format!(", until {}", shown_time(at)));
        if dry_run {
            let what = format!("key {}/{} made for {}{until}", key.project, key.name, may(&key));
            // Its id would be another one.
            self.output.say(
                &format!("would do: {what}"),
                &json!({"dry_run": true, "name": key.name, "restrictions": key.restrictions, "expires": expires}),
            );
            return Ok(Outcome::Fine);
        }
        let what = format!("key {} made for {}{until}", about(&key), may(&key));
        self.done(self.place.store().put_key(None, &key).await?, &key.project)?;
        // First of all: whatever fails from here on, nobody could show it again.
        self.reveal(&secret, &key, &what, json!({}));
        self.record(&what).await?;
        Ok(Outcome::Fine)
    }

    pub(super) async fn rotate(&self, named: &NamedKey, keep_old: Duration, dry_run: bool) -> Result<Outcome> {
        let seen = self.need_unrevoked(named, "rotated").await?;
        let now = Timestamp::now();
        let kept = now.checked_add(keep_old).map_err(|_| Usage("--keep-old is too long".to_owned()))?;
        let ends = seen.expires.map_or(kept, |expires| expires.min(kept));
        let old = Key { name: old_name(&seen)?, expires: Some(ends), ..seen.clone() };
        let secret = random()?;
        let key =
            Key { digest: secret.digest(), created: now, expires: renewed(&seen, now), revoked: None, ..seen.clone() };
        let until = key.expires.map_or(String::new(), |at| format!(", until {}", shown_time(at)));
        let end = if ends > now { "ends at" } else { "ended at" };
        let fate = format!("the old one ({}) {end} {} and is called {}", seen.id(), shown_time(ends), old.name);
        if dry_run {
            let what = format!("key {} rotated{until}; {fate}", about(&seen));
            self.output.say(&format!("would do: {what}"), &json!({"dry_run": true, "old": Shown::of(&old, now)}));
            return Ok(Outcome::Fine);
        }
        let what = format!("key {} made by rotation{until}; {fate}", about(&key));
        self.done(self.place.store().replace_key(&seen, &old, &key).await?, &key.project)?;
        self.reveal(&secret, &key, &what, json!({"old": Shown::of(&old, now)}));
        self.record(&what).await?;
        Ok(Outcome::Fine)
    }

    /// Shows a key, this once, with what to call.
    fn reveal(&self, secret: &Secret, key: &Key, what: &str, mut value: Value) {
        let addresses = self.place.addresses(|network| key.restrictions.allows_network(network.as_str()));
        let addresses: Vec<_> = addresses.iter().map(|address| format!("{address}/{}", secret.reveal())).collect();
        let is_on = self.place.context().config.gate.enabled;
        value["key"] = json!(Shown::of(key, key.created));
        value["secret"] = json!(secret.reveal());
        value["addresses"] = json!(addresses);
        value["gate"] = json!(is_on);
        let mut lines = vec![what.to_owned(), "it is shown this once; keep it where nobody else reads:".to_owned()];
        lines.push(format!("\n  {}\n", self.output.tone(Tone::Good, secret.reveal())));
        lines.push("call".to_owned());
        lines.extend(addresses.iter().map(|address| format!("  {address}")));
        if !is_on {
            let file = self.place.context().file.display();
            let line = format!(
                "the gate is switched off in {file}: whoever reaches the address may call, with any key or none, until \
                 `gate.enabled` is true{}",
                self.place.after_edit()
            );
            lines.push(self.output.tone(Tone::Odd, &line));
        }
        self.output.say(&lines.join("\n"), &value);
    }
}

/// A new key expires as long after it was made as the old one did.
fn renewed(seen: &Key, now: Timestamp) -> Option<Timestamp> {
    let life = seen.expires?.duration_since(seen.created).max(SignedDuration::ZERO);
    Some(now.checked_add(life).unwrap_or(Timestamp::MAX))
}

/// A key that nobody has ever had.
pub(crate) fn random() -> Result<Secret> {
    loop {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).context("this machine gives no random numbers")?;
        if let Some(secret) = Secret::from_random(&bytes) {
            return Ok(secret);
        }
    }
}
