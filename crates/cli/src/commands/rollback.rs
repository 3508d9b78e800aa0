//! `nodeweir rollback`

use anyhow::{Result, bail};
use jiff::Timestamp;
use nodeweir_control::listing;
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::text::show_duration;
use nodeweir_store::{Event, FleetStore as _, Written};
use serde_json::json;

use crate::args::Rollback;
use crate::context::{Usage, who};
use crate::output::{Outcome, Output};
use crate::place::Place;

pub(super) async fn run(rollback: Rollback, place: &impl Place, output: Output) -> Result<Outcome> {
    let store = place.store();
    let now = Timestamp::now();
    if rollback.release {
        return release(place, rollback.dry_run, now, output).await;
    }
    let Some(seq) = rollback.revision else { return Err(Usage("name a revision, or --release".to_owned()).into()) };
    let Some(revision) = store.revision(seq).await? else {
        bail!("there is no revision {seq} in the history; {} lists those there are", place.command("history"));
    };
    let until = now.checked_add(rollback.for_).map_err(|_| Usage("--for is too long".to_owned()))?;
    let pin = Pin { revision: seq, rosters: revision.rosters, by: who(), why: rollback.why, at: now, until };
    let listed = listing::read(store, &place.context().config).await?;
    if let Some(why) = pin.released(&place.context().config, &listed, &store.health().await?, now) {
        bail!("revision {seq} cannot be rolled back to: {why}");
    }
    let what = format!("rollback to revision {seq} for {}", show_duration(rollback.for_));
    if rollback.dry_run {
        output.say(&format!("would do: {what}"), &json!({"dry_run": true, "pin": pin}));
        return Ok(Outcome::Fine);
    }
    let seen = store.pin().await?;
    put(place, seen.as_ref(), Some(&pin), &what, now).await?;
    let line =
        format!("{what}; it shows in `status` until then, and ends at once by {}", place.command("rollback --release"));
    output.say(&line, &json!({"pin": pin}));
    Ok(Outcome::Fine)
}

async fn release(place: &impl Place, dry_run: bool, now: Timestamp, output: Output) -> Result<Outcome> {
    let Some(pin) = place.store().pin().await? else {
        output.say("no rollback is in force", &json!({"pin": null}));
        return Ok(Outcome::Fine);
    };
    let what = format!("rollback to revision {} released", pin.revision);
    if dry_run {
        output.say(&format!("would do: {what}"), &json!({"dry_run": true, "pin": pin}));
    } else {
        put(place, Some(&pin), None, &what, now).await?;
        output.say(&what, &json!({"pin": null}));
    }
    Ok(Outcome::Fine)
}

async fn put(place: &impl Place, seen: Option<&Pin>, pin: Option<&Pin>, what: &str, now: Timestamp) -> Result<()> {
    if place.store().put_pin(seen, pin).await? == Written::Lost {
        bail!(
            "the rollback was changed by somebody else at the same moment; look at {} and try again",
            place.command("status")
        );
    }
    let event =
        Event { at: now, who: who(), kind: "rollback".to_owned(), network: None, node: None, what: what.to_owned() };
    Ok(place.store().record_events(&[event]).await?)
}
