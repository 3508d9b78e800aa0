//! More than the tier has.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::method::MethodPattern;
use nodeweir_domain::gate::project::{MOST_CREDITS, Project};
use nodeweir_domain::name::ProjectId;
use nodeweir_domain::text::grouped;
use nodeweir_store::{GateStore as _, Written};
use serde_json::json;

use super::show::Credits;
use super::{Desk, need};
use crate::args::Granted;
use crate::commands::key::shown_time;
use crate::context::Usage;
use crate::output::Outcome;
use crate::place::Place;

/// How often an account is read and written anew when sidecars settle with it at the same moments. They do so every few
/// seconds, and an attempt takes milliseconds.
const TRIES: u32 = 20;

impl<P: Place> Desk<'_, P> {
    pub(super) async fn grant(&self, id: &ProjectId, what: Granted, take_back: bool, dry_run: bool) -> Result<Outcome> {
        let before = need(self.place, id).await?;
        if let Some(credits) = what.credits {
            return self.add_credits(&before, credits, dry_run).await;
        }
        able(&what.methods)?;
        let mut project = before.clone();
        let is_asked = |method: &MethodPattern| what.methods.contains(method);
        let (changed, same): (Vec<_>, Vec<_>);
        if take_back {
            project.methods.retain(|method| !is_asked(method));
            project.websocket &= !what.websocket;
            (changed, same) = sorted(&what.methods).partition(|method| before.methods.contains(method));
        } else {
            project.methods = sorted(before.methods.iter().chain(&what.methods)).collect();
            project.websocket |= what.websocket;
            (changed, same) = sorted(&what.methods).partition(|method| !before.methods.contains(method));
        }
        let left = if take_back { self.left(&project, &what).await? } else { Vec::new() };
        let lines = |first: String| [vec![first], left.clone()].concat().join("\n");
        let subject = |methods: &[MethodPattern]| {
            if what.websocket { "WebSockets".to_owned() } else { list(methods) }
        };
        if project == before {
            let why = if take_back {
                format!("{id} was not given {}", subject(&same))
            } else {
                format!("{id} is like that already")
            };
            return Err(Usage(lines(format!("nothing to change: {why}"))).into());
        }
        let subject = subject(&changed);
        let done = if take_back { format!("{subject} taken back from {id}") } else { format!("{id} given {subject}") };
        let value = |key: &str| json!({key: true, "project": project, "left": left});
        if dry_run {
            self.output.say(&lines(format!("would do: {done}")), &value("dry_run"));
            return Ok(Outcome::Fine);
        }
        self.put(Some(&before), &project, &done).await?;
        let said = match same.as_slice() {
            [] => done,
            same if take_back => format!("{done}; it was not given {}", list(same)),
            same => format!("{done}; it had {} already", list(same)),
        };
        self.output.say(&lines(said), &value("changed"));
        Ok(Outcome::Fine)
    }

    /// Who still gives what was taken back, whole or in part, and what takes it back there.
    async fn left(&self, project: &Project, what: &Granted) -> Result<Vec<String>> {
        let id = &project.id;
        // Of two patterns that mean a method both, one means all that the other does.
        let overlaps = |one: &&MethodPattern| {
            what.methods.iter().any(|other| one.matches(other.as_str()) || other.matches(one.as_str()))
        };
        let overlapping = |methods: &[MethodPattern]| methods.iter().filter(overlaps).cloned().collect::<Vec<_>>();
        let mut left = Vec::new();
        let own = overlapping(&project.methods);
        if !own.is_empty() {
            let quoted = own.iter().map(|method| format!("'{method}'")).collect::<Vec<_>>().join(" ");
            let grant = self.place.command(&format!("project grant {id} --methods {quoted} --take-back"));
            left.push(format!("{id} still has {}; {grant} takes that back", list(&own)));
        }
        let keys = self.place.store().keys(id).await?;
        let tier = self.place.context().config.gate.tiers.get(&project.tier);
        let gives = |methods: &[MethodPattern], websocket: bool| match overlapping(methods) {
            methods if !methods.is_empty() => Some(list(&methods)),
            _ => (what.websocket && websocket).then(|| "WebSockets".to_owned()),
        };
        if let Some(given) = tier.and_then(|tier| gives(&tier.methods, tier.websocket)) {
            let (tier, file) = (&project.tier, self.place.context().file.display());
            let set_tier = self.place.command(&format!("project set-tier {id} TIER"));
            left.push(format!(
                "{id} still has {given} by its tier {tier}; {set_tier} moves it to another, or change \
                 `gate.tiers.{tier}` in {file}{}",
                self.place.after_edit()
            ));
        }
        let clear = if what.websocket { "websocket" } else { "granted-methods" };
        for key in keys.iter().filter(|key| key.revoked.is_none()) {
            if let Some(given) = gives(&key.restrictions.granted_methods, key.restrictions.websocket) {
                let name = &key.name;
                let restrict = self.place.command(&format!("key restrict {id} {name} --clear {clear}"));
                left.push(format!("its key {name} still has {given}; {restrict} takes that back"));
            }
        }
        Ok(left)
    }

    /// Adds to this month's account, which it opens with the monthly grant where it is not there yet.
    async fn add_credits(&self, project: &Project, credits: u64, dry_run: bool) -> Result<Outcome> {
        let allowance = self.allowance(project)?;
        let id = &project.id;
        for _ in 0..TRIES {
            let period = Period::of(Timestamp::now());
            let seen = self.place.store().account(id, period).await?;
            let open = || Account::open(id.clone(), period, allowance.credits_per_month);
            let account = seen.clone().unwrap_or_else(open).grant(credits);
            if account.granted > MOST_CREDITS {
                bail!("{id} was not given {} credits: a month has {} at most", grouped(credits), grouped(MOST_CREDITS));
            }
            let month = Credits::of(&account);
            let done = format!("{id} given {} credits for {period}", grouped(credits));
            if dry_run {
                self.output.say(&format!("would do: {done}"), &json!({"dry_run": true, "month": month}));
                return Ok(Outcome::Fine);
            }
            if self.place.store().put_account(seen.as_ref(), &account).await? == Written::Done {
                self.record(&done).await?;
                let line = format!("{done}; {} are left, until {}", month.shown_left(), shown_time(period.ends()));
                self.output.say(&line, &json!({"changed": true, "month": month}));
                return Ok(Outcome::Fine);
            }
        }
        bail!("{id} was not given credits: its account was changed {TRIES} times at the same moments; try again")
    }
}

/// Refuses what cannot be given to anybody.
pub(in crate::commands) fn able(methods: &[MethodPattern]) -> Result<()> {
    match methods.iter().find(|method| !method.can_be_granted()) {
        Some(method) => bail!("{method} cannot be given: only debug_* and trace_* can, whole or in part"),
        None => Ok(()),
    }
}

pub(in crate::commands) fn list(methods: &[MethodPattern]) -> String {
    methods.iter().map(MethodPattern::as_str).collect::<Vec<_>>().join(", ")
}

/// In order, and none twice.
fn sorted<'a>(methods: impl IntoIterator<Item = &'a MethodPattern>) -> impl Iterator<Item = MethodPattern> {
    methods.into_iter().cloned().collect::<BTreeSet<_>>().into_iter()
}
