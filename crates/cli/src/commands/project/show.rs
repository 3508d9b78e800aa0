//! Looking at projects.

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period};
use nodeweir_domain::gate::project::{Allowance, Project};
use nodeweir_domain::name::ProjectId;
use nodeweir_domain::text::grouped;
use nodeweir_store::{GateStore as _, StoreError};
use serde::Serialize;
use serde_json::json;

use super::grant::list;
use super::{Desk, limits_of, need};
use crate::commands::key;
use crate::output::{Outcome, Tone};
use crate::place::Place;

/// Accounts that are read at once: each is a call where the store is far away.
const AT_ONCE: usize = 16;

/// Months that are shown as a table: a year.
const MONTHS: usize = 12;

/// A project's credits of one month.
#[derive(Debug, Serialize)]
pub(super) struct Credits {
    month: Period,
    granted: u64,
    spent: u64,
    written_off: u64,
    leased: u64,
    /// Below zero if it was overdrawn while the ledger could not be reached.
    left: i64,
}

impl Credits {
    pub(super) fn of(account: &Account) -> Self {
        let left = account.left().clamp(i64::MIN.into(), i64::MAX.into());
        Self {
            month: account.period,
            granted: account.granted,
            spent: account.spent,
            written_off: account.written_off,
            leased: u64::try_from(account.leased()).unwrap_or(u64::MAX),
            left: i64::try_from(left).unwrap_or(0),
        }
    }

    pub(super) fn shown_left(&self) -> String {
        let sign = if self.left < 0 { "-" } else { "" };
        format!("{sign}{}", grouped(self.left.unsigned_abs()))
    }

    fn row(&self) -> Vec<(Tone, String)> {
        let [granted, spent, written_off, leased] =
            [self.granted, self.spent, self.written_off, self.leased].map(|count| (Tone::Plain, grouped(count)));
        let tone = if self.left <= 0 { Tone::Bad } else { Tone::Plain };
        vec![(Tone::Plain, self.month.to_string()), granted, spent, written_off, leased, (tone, self.shown_left())]
    }
}

impl<P: Place> Desk<'_, P> {
    pub(super) async fn list(&self) -> Result<Outcome> {
        let projects = self.place.store().projects().await?;
        let period = Period::of(Timestamp::now());
        let month = async |project| match self.month(project, period).await {
            // One that cannot be read hides no other; `show` says what is wrong with it.
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Unreadable { .. })) => Ok(None),
            month => month,
        };
        let months: Vec<_> = stream::iter(&projects).map(month).buffered(AT_ONCE).try_collect().await?;
        if self.output.json {
            let entry = |(project, month): (&Project, &Option<Credits>)| json!({"project": project, "allowance": self.known_allowance(project).map(allowed), "month": month});
            self.output.value(&projects.iter().zip(&months).map(entry).collect::<Vec<_>>());
            return Ok(Outcome::Fine);
        }
        let row = |(project, month): (&Project, &Option<Credits>)| {
            let allowance = self.known_allowance(project);
            let unknown = || (Tone::Bad, "?".to_owned());
            let rate = allowance.map(|allowance| (Tone::Plain, grouped(allowance.requests_per_second.get().into())));
            let cell = |text: String| (Tone::Plain, text);
            let [spent, left] = match month {
                Some(month) => [cell(grouped(month.spent)), cell(month.shown_left())],
                None => [unknown(), unknown()],
            };
            vec![
                cell(project.id.to_string()),
                cell(project.tier.to_string()),
                rate.unwrap_or_else(unknown),
                spent,
                left,
                cell(key::shown_time(project.created)),
            ]
        };
        let header = ["PROJECT", "TIER", "REQUESTS/S", "SPENT THIS MONTH", "LEFT", "MADE"];
        let rows = projects.iter().zip(&months).map(row).collect();
        self.output.line(&self.output.table(&header, rows));
        Ok(Outcome::Fine)
    }

    pub(super) async fn show(&self, id: &ProjectId) -> Result<Outcome> {
        let project = need(self.place, id).await?;
        let now = Timestamp::now();
        let period = Period::of(now);
        let allowance = self.known_allowance(&project);
        let mut months: Vec<_> = self.place.store().accounts(id).await?.iter().map(Credits::of).collect();
        if !months.iter().any(|month| month.month == period) {
            months.extend(self.month(&project, period).await?);
            months.sort_by_key(|month| std::cmp::Reverse(month.month));
        }
        let keys = self.place.store().keys(id).await?;
        let outcome = if allowance.is_some() { Outcome::Fine } else { Outcome::Degraded };
        if self.output.json {
            let tier = self.place.context().config.gate.tiers.get(&project.tier);
            let mut methods = project.methods.clone();
            methods.extend(tier.iter().flat_map(|tier| tier.methods.clone()));
            methods.sort();
            methods.dedup();
            self.output.value(&json!({
                "project": project, "allowance": allowance.map(allowed), "methods": methods,
                "websocket": project.websocket || tier.is_some_and(|tier| tier.websocket),
                "month": months.iter().find(|month| month.month == period), "months": months,
                "keys": keys.iter().map(|one| key::Shown::of(one, now)).collect::<Vec<_>>(),
            }));
            return Ok(outcome);
        }
        self.output.line(&format!("{id}, in tier {}, made {}", project.tier, key::shown_time(project.created)));
        match allowance {
            Some(allowance) => self.output.line(&format!("  {}", limits_of(allowance))),
            None => self.output.line(&self.output.tone(
                Tone::Bad,
                &format!(
                    "  how much it may is not known: {} has no such tier, or one that leaves it to the project; \
                     {} gives it another",
                    self.place.context().file.display(),
                    self.place.command("project set-tier")
                ),
            )),
        }
        if !project.methods.is_empty() {
            self.output.line(&format!("  given beyond its tier: {}", list(&project.methods)));
        }
        if project.websocket {
            self.output.line("  given beyond its tier: WebSockets, neither limited nor charged");
        }
        let rows = months.iter().take(MONTHS).map(Credits::row).collect();
        let header = ["MONTH", "GRANTED", "SPENT", "WRITTEN OFF", "LEASED", "LEFT"];
        self.output.line(&format!("\n{}", self.output.table(&header, rows)));
        match keys.as_slice() {
            [] => {
                let create = self.place.command(&format!("key create {id}"));
                self.output.line(&format!("\nno keys; {create} makes one"));
            }
            keys => self.output.line(&format!("\n{}", key::table(keys, now, self.output))),
        }
        Ok(outcome)
    }

    fn known_allowance(&self, project: &Project) -> Option<Allowance> {
        self.place.context().config.gate.allowance(project)
    }

    /// A month's credits; as they will be where nothing of it was used yet. `None` if that is not known.
    async fn month(&self, project: &Project, period: Period) -> Result<Option<Credits>> {
        let account = self.place.store().account(&project.id, period).await?;
        let fresh =
            || Some(Account::open(project.id.clone(), period, self.known_allowance(project)?.credits_per_month));
        Ok(account.or_else(fresh).as_ref().map(Credits::of))
    }
}

fn allowed(allowance: Allowance) -> serde_json::Value {
    let Allowance { requests_per_second, credits_per_month } = allowance;
    json!({
        "requests_per_second": requests_per_second, "burst": u64::from(requests_per_second.get()) * 2,
        "credits_per_month": credits_per_month,
    })
}
