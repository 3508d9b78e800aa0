//! `nodeweir-proxy gate`: the gate's process, which the same program has as a child.

use std::sync::Arc;

use anyhow::Result;
use nodeweir_sidecar::{Job, Process};
use nodeweir_store::sqlite::SqliteStore;

use crate::settings::Settings;

/// Beside the folder where the proxy works; whoever makes projects and keys has it too.
const STORE: &str = "state.db";

/// Runs it until SIGTERM.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let store = std::path::absolute(settings.state.join(STORE))?;
    let process = Process { config: Arc::new(settings.config), state: settings.state, is_shared: false };
    let open = async || Ok(SqliteStore::open(&store)?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(process.run(open))
}

/// How it is run: by this program, in the same environment.
pub(crate) fn job(settings: &Settings) -> Job {
    Job {
        words: vec!["gate".into()],
        config: settings.config.clone(),
        state: settings.state.clone(),
        show: Arc::new(|line| println!("{line}")),
    }
}
