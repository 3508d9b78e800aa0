//! `nodeweir-proxy gate`: the gate's process, which the same program has as a child.

use std::sync::Arc;

use anyhow::Result;
use nodeweir_aws::{DynamoStore, connect};
use nodeweir_sidecar::{Job, Process};
use nodeweir_store::sqlite::SqliteStore;

use crate::settings::Settings;

/// Beside the folder where the proxy works; whoever makes projects and keys has it too.
const STORE: &str = "state.db";

/// Runs it until SIGTERM: over the tables of a stage, which gates of other tasks share, or over the store beside it.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let here = std::path::absolute(settings.state.join(STORE))?;
    let is_shared = settings.tables.is_some();
    let process = Process { config: Arc::new(settings.config), state: settings.state, is_shared };
    let run = async {
        match settings.tables {
            Some(tables) => {
                let open = async || Ok(DynamoStore::new(&connect(None).await, tables.clone()));
                Box::pin(process.run(open)).await
            }
            None => Box::pin(process.run(async || Ok(SqliteStore::open(&here)?))).await,
        }
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run)
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
