//! `nodeweir status`

use anyhow::Result;
use jiff::Timestamp;

use crate::output::{Outcome, Output};
use crate::place::Place;
use crate::report::{Report, gather};

pub(super) async fn run(watch: bool, place: &impl Place, output: Output) -> Result<Outcome> {
    let object = place.published()?;
    loop {
        let now = Timestamp::now();
        let report = gather(place.context(), place.store(), &object, place.runs().await?, now).await?;
        show(&report, watch, output, now);
        if !watch {
            return Ok(if report.problems.is_empty() { Outcome::Fine } else { Outcome::Degraded });
        }
        tokio::time::sleep(place.waiting().watch).await;
    }
}

fn show(report: &Report, again: bool, output: Output, now: Timestamp) {
    if output.json {
        output.value(report);
    } else {
        let clear = if again && output.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        output.line(&format!("{clear}{}", report.show(output, now)));
    }
}
