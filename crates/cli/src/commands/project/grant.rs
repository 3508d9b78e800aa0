//! More than the tier has.

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

/// How often an account is read and written anew when sidecars settle with it at the same moments. They do so every few
/// seconds, and an attempt takes milliseconds.
const TRIES: u32 = 20;

impl Desk<'_> {
    pub(super) async fn grant(&self, id: &ProjectId, what: Granted, take_back: bool, dry_run: bool) -> Result<Outcome> {
        let before = need(self.store, id).await?;
        if let Some(credits) = what.credits {
            return self.add_credits(&before, credits, dry_run).await;
        }
        able(&what.methods)?;
        let mut project = before.clone();
        if take_back {
            project.methods.retain(|method| !what.methods.contains(method));
            project.websocket &= !what.websocket;
        } else {
            project.methods.extend(what.methods.iter().filter(|method| !before.methods.contains(method)).cloned());
            project.methods.sort();
            project.methods.dedup();
            project.websocket |= what.websocket;
        }
        if project == before {
            return Err(Usage(format!("nothing to change: {id} is like that already")).into());
        }
        let subject = if what.websocket { "WebSockets".to_owned() } else { list(&what.methods) };
        let done = if take_back { format!("{subject} taken back from {id}") } else { format!("{id} given {subject}") };
        if dry_run {
            self.output.say(&format!("would do: {done}"), &json!({"dry_run": true, "project": project}));
            return Ok(Outcome::Fine);
        }
        self.put(Some(&before), &project, &done).await?;
        self.output.say(&done, &json!({"changed": true, "project": project}));
        Ok(Outcome::Fine)
    }

    /// Adds to this month's account, which it opens with the monthly grant where it is not there yet.
    async fn add_credits(&self, project: &Project, credits: u64, dry_run: bool) -> Result<Outcome> {
        let allowance = self.allowance(project)?;
        let id = &project.id;
        for _ in 0..TRIES {
            let period = Period::of(Timestamp::now());
            let seen = self.store.account(id, period).await?;
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
            if self.store.put_account(seen.as_ref(), &account).await? == Written::Done {
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
