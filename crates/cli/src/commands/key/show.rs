//! Looking at keys: never at their text, which nobody has.

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyId, KeyStatus};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::{KeyName, ProjectId};
use nodeweir_store::GateStore as _;
use serde::Serialize;

use super::Desk;
use crate::args::NamedKey;
use crate::commands::project::need;
use crate::output::{Outcome, Output, Tone};
use crate::place::Place;

/// A key as programs read it.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Shown<'a> {
    id: KeyId,
    name: &'a KeyName,
    project: &'a ProjectId,
    status: String,
    created: Timestamp,
    expires: Option<Timestamp>,
    revoked: Option<Timestamp>,
    restrictions: &'a Restrictions,
}

impl<'a> Shown<'a> {
    pub(in crate::commands) fn of(key: &'a Key, now: Timestamp) -> Self {
        let Key { name, project, created, expires, revoked, restrictions, .. } = key;
        let status = key.status(now).to_string();
        Self {
            id: key.id(),
            name,
            project,
            status,
            created: *created,
            expires: *expires,
            revoked: *revoked,
            restrictions,
        }
    }
}

impl<P: Place> Desk<'_, P> {
    pub(super) async fn list(&self, project: &ProjectId) -> Result<Outcome> {
        need(self.place, project).await?;
        let keys = self.place.store().keys(project).await?;
        let now = Timestamp::now();
        if self.output.json {
            self.output.value(&keys.iter().map(|key| Shown::of(key, now)).collect::<Vec<_>>());
        } else {
            self.output.line(&table(&keys, now, self.output));
        }
        Ok(Outcome::Fine)
    }

    pub(super) async fn show(&self, named: &NamedKey) -> Result<Outcome> {
        let key = self.need(named).await?;
        let now = Timestamp::now();
        if self.output.json {
            self.output.value(&Shown::of(&key, now));
            return Ok(Outcome::Fine);
        }
        let (tone, status) = status(&key, now);
        let status = self.output.tone(tone, &status);
        self.output.line(&format!("{} is {status}, made {}", super::about(&key), shown_time(key.created)));
        if let (Some(at), None) = (key.expires.filter(|at| *at > now), key.revoked) {
            self.output.line(&format!("  until {}", shown_time(at)));
        }
        self.output.line(&format!("  for {}", may(&key)));
        Ok(Outcome::Fine)
    }
}

/// Keys as people read them; those that were revoked at the end.
pub(in crate::commands) fn table(keys: &[Key], now: Timestamp, output: Output) -> String {
    let (revoked, used): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.revoked.is_some());
    let row = |key: &&Key| {
        let (tone, status) = status(key, now);
        let tone_of_rest = if key.revoked.is_some() { Tone::Faint } else { Tone::Plain };
        let expires = key.expires.map(shown_time).unwrap_or_default();
        let cell = |text: String| (tone_of_rest, text);
        let (name, id) = (key.name.to_string(), key.id().to_string());
        vec![cell(name), cell(id), (tone, status), cell(shown_time(key.created)), cell(expires), cell(may(key))]
    };
    let rows = used.iter().chain(&revoked).map(row).collect();
    output.table(&["KEY", "ID", "STATUS", "MADE", "EXPIRES", "FOR"], rows)
}

fn status(key: &Key, now: Timestamp) -> (Tone, String) {
    match key.status(now) {
        KeyStatus::Active => (Tone::Good, "active".to_owned()),
        KeyStatus::Expired(at) => (Tone::Odd, format!("expired since {}", shown_time(at))),
        KeyStatus::Revoked(at) => (Tone::Bad, format!("revoked since {}", shown_time(at))),
    }
}

/// What a key may be used for: `calls on ethereum, from 10.0.0.0/8; also trace_*`.
pub(super) fn may(key: &Key) -> String {
    let Restrictions { networks, origins, addresses, methods, granted_methods, websocket } = &key.restrictions;
    let only = [
        ("on", joined(networks)),
        ("from pages of", joined(origins)),
        ("from", joined(addresses)),
        ("of", joined(methods)),
    ];
    let only = only.into_iter().filter(|(_, values)| !values.is_empty());
    let only: Vec<_> = only.map(|(what, values)| format!("{what} {values}")).collect();
    let only =
        if only.is_empty() { "everything its project may".to_owned() } else { format!("calls {}", only.join(", ")) };
    let mut also = granted_methods.iter().map(ToString::to_string).collect::<Vec<_>>();
    also.extend(websocket.then(|| "WebSockets".to_owned()));
    if also.is_empty() { only } else { format!("{only}; also {}", also.join(", ")) }
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}

pub(in crate::commands) fn shown_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
