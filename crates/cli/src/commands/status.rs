//! `nodeweir status`

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use crate::context::Context;
use crate::output::{Outcome, Output};
use crate::report::{Report, gather};

/// Between two pictures of `--watch`.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(watch: bool, context: &Context, output: Output) -> Result<Outcome> {
    let store = context.store()?;
    let object = context.published()?;
    loop {
        let now = Timestamp::now();
        let report = gather(context, &store, &object, context.runtime(&store).await?, now).await?;
        show(&report, watch, output, now);
        if !watch {
            return Ok(if report.problems.is_empty() { Outcome::Fine } else { Outcome::Degraded });
        }
        tokio::time::sleep(EVERY).await;
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
