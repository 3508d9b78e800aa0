//! `nodeweir plan`

use anyhow::Result;
use jiff::Timestamp;
use nodeweir_control::publish::{Planned, look};
use nodeweir_domain::fleet::plan::Step;
use serde_json::json;
use similar::TextDiff;

use crate::output::{Outcome, Output, Tone};
use crate::place::Place;

pub(super) async fn run(place: &impl Place, output: Output) -> Result<Outcome> {
    let Planned { plan, published, .. } =
        look(place.store(), &place.published()?, &place.context().config, Timestamp::now()).await?;
    let before = published.as_ref().map_or("", |revision| revision.body.as_str());
    let diff = TextDiff::from_lines(before, &plan.body)
        .unified_diff()
        .context_radius(2)
        .header("published", "wanted")
        .to_string();
    let (step, reason) = match &plan.step {
        Step::Nothing => ("nothing", None),
        Step::Publish { reason } => ("publish", Some(reason.as_str())),
        Step::Refuse => ("refuse", None),
    };
    if output.json {
        output.value(
            &json!({"step": step, "reason": reason, "findings": plan.findings, "rosters": plan.rosters, "diff": diff}),
        );
    } else {
        for line in diff.lines() {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Faint,
                _ => Tone::Plain,
            };
            output.line(&output.tone(tone, line));
        }
        for finding in &plan.findings {
            output.line(&output.tone(Tone::Odd, &finding.to_string()));
        }
        output.line(&match (step, reason) {
            ("publish", Some(reason)) => format!("would publish: {reason}"),
            ("refuse", _) => {
                "would publish nothing: the findings above forbid it; the last good revision stays".to_owned()
            }
            _ => "nothing to do: what is published is what should be".to_owned(),
        });
    }
    Ok(if plan.step == Step::Refuse { Outcome::Degraded } else { Outcome::Fine })
}
