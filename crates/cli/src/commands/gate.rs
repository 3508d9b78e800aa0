//! `nodeweir gate`: the gate's process. `up` starts it, and again whenever it ends.

use std::sync::Arc;

use anyhow::{Result, bail};
use nodeweir_sidecar::Process;

use crate::context::Context;
use crate::output::Outcome;

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(context: &Context) -> Result<Outcome> {
    if !context.config.gate.enabled {
        bail!("the gate is switched off in {}", context.file.display());
    }
    let config = Arc::new(context.config.clone());
    let process = Process { config, state: context.state.clone(), is_shared: false };
    // The process works elsewhere than where it was started.
    let context = Context { state: std::path::absolute(&context.state)?, ..context.clone() };
    process.run(async || context.store()).await?;
    Ok(Outcome::Fine)
}
