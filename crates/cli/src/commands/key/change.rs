//! Restricting and revoking keys.

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_domain::gate::key::Key;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_store::GateStore as _;
use serde_json::json;

use super::show::{Shown, may, shown_time};
use super::{Desk, EFFECTIVE, about, to_come};
use crate::args::{Clearable, NamedKey, Uses};
use crate::context::Usage;
use crate::output::Outcome;
use crate::place::Place;

impl<P: Place> Desk<'_, P> {
    pub(super) async fn restrict(
        &self,
        named: &NamedKey,
        uses: Uses,
        clear: &[Clearable],
        dry_run: bool,
    ) -> Result<Outcome> {
        let seen = self.need_unrevoked(named, "restricted").await?;
        self.check(&uses)?;
        contradictions(&uses, clear)?;
        let now = Timestamp::now();
        let expires = match uses.expires {
            Some(moment) => Some(to_come("--expires", moment.after(now), now)?),
            None if clear.contains(&Clearable::Expires) => None,
            None => seen.expires,
        };
        let restrictions = replaced(cleared(seen.restrictions.clone(), clear), uses);
        let key = Key { restrictions, expires, ..seen.clone() };
        if key == seen {
            return Err(Usage(format!("nothing to change: {} is like that already", about(&seen))).into());
        }
        let until = key.expires.map_or(String::new(), |at| format!(", until {}", shown_time(at)));
        let what = format!("key {} may now be used for {}{until}", about(&key), may(&key));
        if dry_run {
            let value = json!({"dry_run": true, "key": Shown::of(&key, now)});
            self.output.say(&format!("would do: {what}"), &value);
            return Ok(Outcome::Fine);
        }
        self.done(self.place.store().put_key(Some(&seen), &key).await?, &key.project)?;
        self.record(&what).await?;
        let line = format!("{what}; it takes effect within {EFFECTIVE}");
        self.output.say(&line, &json!({"changed": true, "key": Shown::of(&key, now)}));
        Ok(Outcome::Fine)
    }

    pub(super) async fn revoke(&self, named: &NamedKey, dry_run: bool) -> Result<Outcome> {
        let seen = self.need(named).await?;
        let now = Timestamp::now();
        if let Some(at) = seen.revoked {
            let line = format!("{} was revoked at {} already", about(&seen), shown_time(at));
            self.output.say(&line, &json!({"changed": false, "key": Shown::of(&seen, now)}));
            return Ok(Outcome::Fine);
        }
        let key = Key { revoked: Some(now), ..seen.clone() };
        let what = format!("key {} revoked", about(&key));
        if dry_run {
            let value = json!({"dry_run": true, "key": Shown::of(&key, now)});
            self.output.say(&format!("would do: {what}"), &value);
            return Ok(Outcome::Fine);
        }
        self.done(self.place.store().put_key(Some(&seen), &key).await?, &key.project)?;
        self.record(&what).await?;
        let line = format!("{what}; it is refused within {EFFECTIVE}, everywhere and for good");
        self.output.say(&line, &json!({"changed": true, "key": Shown::of(&key, now)}));
        Ok(Outcome::Fine)
    }
}

/// Nothing can be named and cleared.
fn contradictions(uses: &Uses, clear: &[Clearable]) -> Result<()> {
    for (named, flag, cleared) in [
        (!uses.network.is_empty(), "--network", Clearable::Networks),
        (!uses.origin.is_empty(), "--origin", Clearable::Origins),
        (!uses.address.is_empty(), "--address", Clearable::Addresses),
        (!uses.method.is_empty(), "--method", Clearable::Methods),
        (!uses.grant_method.is_empty(), "--grant-method", Clearable::GrantedMethods),
        (uses.websocket, "--websocket", Clearable::Websocket),
        (uses.expires.is_some(), "--expires", Clearable::Expires),
    ] {
        if named && clear.contains(&cleared) {
            return Err(Usage(format!("{flag} sets what --clear lifts; leave one of them out")).into());
        }
    }
    Ok(())
}

fn cleared(mut restrictions: Restrictions, clear: &[Clearable]) -> Restrictions {
    for what in clear {
        match what {
            Clearable::Networks => restrictions.networks.clear(),
            Clearable::Origins => restrictions.origins.clear(),
            Clearable::Addresses => restrictions.addresses.clear(),
            Clearable::Methods => restrictions.methods.clear(),
            Clearable::GrantedMethods => restrictions.granted_methods.clear(),
            Clearable::Websocket => restrictions.websocket = false,
            // Of the key, not of its restrictions.
            Clearable::Expires => {}
        }
    }
    restrictions
}

/// What is named takes the place of what was there.
pub(super) fn replaced(before: Restrictions, named: Uses) -> Restrictions {
    Restrictions {
        networks: or(named.network, before.networks),
        origins: or(named.origin, before.origins),
        addresses: or(named.address, before.addresses),
        methods: or(named.method, before.methods),
        granted_methods: or(named.grant_method, before.granted_methods),
        websocket: named.websocket || before.websocket,
    }
}

fn or<T: Ord>(mut named: Vec<T>, before: Vec<T>) -> Vec<T> {
    if named.is_empty() {
        return before;
    }
    named.sort();
    named.dedup();
    named
}
