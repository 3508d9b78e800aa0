//! `nodeweir project …`: who may call, and how much.

mod grant;
mod show;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::gate::project::{Allowance, Project};
use nodeweir_domain::name::{ProjectId, TierName};
use nodeweir_domain::read::did_you_mean;
use nodeweir_domain::text::grouped;
use nodeweir_store::{Event, FleetStore as _, GateStore as _, Written};
use serde_json::json;

use crate::args::{Limits, Project as Command};
use crate::context::{Usage, who};
use crate::output::{Outcome, Output};
use crate::place::Place;

pub(super) use grant::able;

/// What is said of a change that was made while its note in the history could not be.
pub(super) const UNRECORDED: &str = "it is done, but the history does not tell of it";

pub(super) async fn run(command: Command, place: &impl Place, output: Output) -> Result<Outcome> {
    let desk = Desk { place, output };
    match command {
        Command::Create { name, tier, limits, dry_run } => desk.create(name, tier, limits, dry_run).await,
        Command::List => desk.list().await,
        Command::Show { name } => desk.show(&name).await,
        Command::SetTier { name, tier, limits, dry_run } => desk.set_tier(&name, tier, limits, dry_run).await,
        Command::Grant { name, what, take_back, dry_run } => desk.grant(&name, what, take_back, dry_run).await,
    }
}

/// The project of this name, or who it might be.
pub(super) async fn need(place: &impl Place, id: &ProjectId) -> Result<Project> {
    let store = place.store();
    if let Some(project) = store.project(id).await? {
        return Ok(project);
    }
    let projects = store.projects().await?;
    match did_you_mean(id.as_str(), projects.iter().map(|project| project.id.as_str())) {
        near if near.is_empty() => {
            bail!("there is no project {id}; {} shows those there are", place.command("project list"))
        }
        near => bail!("there is no project {id}{near}"),
    }
}

struct Desk<'a, P> {
    place: &'a P,
    output: Output,
}

impl<P: Place> Desk<'_, P> {
    async fn create(&self, id: ProjectId, tier: TierName, limits: Limits, dry_run: bool) -> Result<Outcome> {
        if self.place.store().project(&id).await?.is_some() {
            let show = self.place.command(&format!("project show {id}"));
            bail!("there is a project {id} already; look at it with {show}");
        }
        let Limits { requests_per_second, credits_per_month } = limits;
        let created = Timestamp::now();
        let project =
            Project { id, tier, created, requests_per_second, credits_per_month, methods: vec![], websocket: false };
        let allowance = self.allowance(&project)?;
        let what = format!("{} made in tier {}: {}", project.id, project.tier, limits_of(allowance));
        if dry_run {
            self.output.say(&format!("would do: {what}"), &json!({"dry_run": true, "project": project}));
            return Ok(Outcome::Fine);
        }
        self.put(None, &project, &what).await?;
        let next = format!("{} makes it a key", self.place.command(&format!("key create {}", project.id)));
        self.output.say(&format!("{what}\n{next}"), &json!({"changed": true, "project": project}));
        Ok(Outcome::Fine)
    }

    async fn set_tier(&self, id: &ProjectId, tier: TierName, limits: Limits, dry_run: bool) -> Result<Outcome> {
        let before = need(self.place, id).await?;
        let Limits { requests_per_second, credits_per_month } = limits;
        let project = Project { tier, requests_per_second, credits_per_month, ..before.clone() };
        let allowance = self.allowance(&project)?;
        if project == before {
            return Err(Usage(format!("nothing to change: {id} is like that already")).into());
        }
        let what = format!("{id} moved from tier {} to {}: {}", before.tier, project.tier, limits_of(allowance));
        if dry_run {
            self.output.say(&format!("would do: {what}"), &json!({"dry_run": true, "project": project}));
            return Ok(Outcome::Fine);
        }
        self.put(Some(&before), &project, &what).await?;
        // Nobody knows whether the month is to be paid again, so that it is left to whoever does.
        let period = Period::of(Timestamp::now());
        let granted = self.place.store().account(id, period).await?.map(|account| account.granted);
        let hint = match granted {
            Some(granted) if granted != allowance.credits_per_month => {
                let more = allowance.credits_per_month.checked_sub(granted).filter(|more| *more > 0);
                let now = more.map_or(String::new(), |more| {
                    let grant = self.place.command(&format!("project grant {id} --credits {more}"));
                    format!("; {grant} gives it the difference now")
                });
                format!("\n{period} stays at {} credits, and the next month gets the new ones{now}", grouped(granted))
            }
            _ => String::new(),
        };
        let value = json!({"changed": true, "project": project, "granted_this_month": granted});
        self.output.say(&format!("{what}{hint}"), &value);
        Ok(Outcome::Fine)
    }

    /// What a project may, if its tier exists and all numbers are there.
    fn allowance(&self, project: &Project) -> Result<Allowance> {
        let tiers = &self.place.context().config.gate.tiers;
        let Some(tier) = tiers.get(&project.tier) else {
            let near = did_you_mean(project.tier.as_str(), tiers.keys().map(TierName::as_str));
            let known: Vec<_> = tiers.keys().map(TierName::as_str).collect();
            bail!(
                "there is no tier {}{near}; {} has {}",
                project.tier,
                self.place.context().file.display(),
                known.join(", ")
            );
        };
        let missing = [
            project.requests_per_second.or(tier.requests_per_second).is_none().then_some("--requests-per-second"),
            project.credits_per_month.or(tier.credits_per_month).is_none().then_some("--credits-per-month"),
        ];
        let missing: Vec<_> = missing.into_iter().flatten().collect();
        project.allowance(tier).ok_or_else(|| {
            let flags = missing.join(" and ");
            Usage(format!("tier {} leaves it to each project how much it may: add {flags}", project.tier)).into()
        })
    }

    /// Writes a project if what is there is still `before`, and notes who did.
    async fn put(&self, before: Option<&Project>, project: &Project, what: &str) -> Result<()> {
        if self.place.store().put_project(before, project).await? == Written::Lost {
            bail!(
                "{} was changed by somebody else at the same moment; look at {} and try again",
                project.id,
                self.place.command(&format!("project show {}", project.id))
            );
        }
        self.record(what).await
    }

    async fn record(&self, what: &str) -> Result<()> {
        let event = Event {
            at: Timestamp::now(),
            who: who(),
            kind: "project".to_owned(),
            network: None,
            node: None,
            what: what.to_owned(),
        };
        self.place.store().record_events(&[event]).await.context(UNRECORDED)
    }
}

fn limits_of(allowance: Allowance) -> String {
    let Allowance { requests_per_second, credits_per_month } = allowance;
    format!(
        "{} requests per second of each key, {} credits a month",
        grouped(requests_per_second.get().into()),
        grouped(credits_per_month)
    )
}
