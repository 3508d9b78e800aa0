//! `nodeweir history`

use anyhow::{Result, bail};
use nodeweir_store::FleetStore as _;

use crate::output::{Outcome, Output, Tone};
use crate::place::Place;

pub(super) async fn revisions(limit: u32, place: &impl Place, output: Output) -> Result<Outcome> {
    let revisions = place.store().revisions(limit).await?;
    if output.json {
        output.value(&revisions);
    } else {
        let row = |revision: &nodeweir_store::RevisionSummary| {
            let at = revision.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            [revision.seq.to_string(), at, revision.reason.clone()].map(|text| (Tone::Plain, text)).to_vec()
        };
        output.line(&output.table(&["REVISION", "WHEN", "WHY"], revisions.iter().map(row).collect()));
    }
    Ok(Outcome::Fine)
}

pub(super) async fn events(limit: u32, place: &impl Place, output: Output) -> Result<Outcome> {
    let events = place.store().events(limit).await?;
    if output.json {
        output.value(&events);
    } else {
        let row = |event: &nodeweir_store::Event| {
            let about = [event.network.clone(), event.node.clone()].into_iter().flatten().collect::<Vec<_>>().join("/");
            let at = event.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            [at, event.who.clone(), event.kind.clone(), about, event.what.clone()]
                .map(|text| (Tone::Plain, text))
                .to_vec()
        };
        output.line(&output.table(&["WHEN", "WHO", "KIND", "ABOUT", "WHAT"], events.iter().map(row).collect()));
    }
    Ok(Outcome::Fine)
}

pub(super) async fn text(seq: u64, place: &impl Place, output: Output) -> Result<Outcome> {
    let Some(revision) = place.store().revision(seq).await? else {
        bail!("there is no revision {seq} in the history; {} lists those there are", place.command("history"));
    };
    output.say(
        revision.compose().trim_end(),
        &serde_json::json!({
            "seq": revision.seq, "name": revision.name(), "at": revision.at, "reason": revision.reason,
            "proxy": revision.proxy.as_str(), "rosters": revision.rosters, "text": revision.compose(),
        }),
    );
    Ok(Outcome::Fine)
}
