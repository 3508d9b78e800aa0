//! This machine, where `nodeweir up` keeps the fleet.

use std::time::Duration;

use anyhow::Result;
use nodeweir_control::edges::EdgeError;
use nodeweir_control::folder::FolderObject;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::NetworkId;
use nodeweir_store::sqlite::SqliteStore;

use super::{Place, Runs, Waiting, Words, parsed};
use crate::context::Context;

/// A state's folder.
pub(crate) struct Machine {
    context: Context,
    store: SqliteStore,
}

impl Machine {
    pub(crate) fn open(context: Context) -> Result<Self> {
        Ok(Self { store: context.store()?, context })
    }
}

impl Place for Machine {
    type Store = SqliteStore;
    type Object = FolderObject;

    fn context(&self) -> &Context {
        &self.context
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn published(&self) -> Result<FolderObject, EdgeError> {
        self.context.published()
    }

    async fn runs(&self) -> Result<Runs> {
        let runtime = self.context.runtime(&self.store).await?;
        Ok(Runs::Up { is_up: self.context.is_up(), runtime })
    }

    fn is_kept(&self) -> bool {
        self.context.is_up()
    }

    async fn taken_up(&self) -> Result<Option<Revision>> {
        self.in_service().await
    }

    /// The published revision, if it is the one that runs.
    async fn in_service(&self) -> Result<Option<Revision>> {
        let Some(revision) = parsed(&self.published()?).await? else { return Ok(None) };
        let running = self.context.runtime(&self.store).await?.and_then(|runtime| runtime.running);
        Ok(Some(revision).filter(|revision| running == Some(revision.name())))
    }

    fn waiting(&self) -> Waiting {
        let patience = Duration::from_secs(10);
        let (look, watch) = (Duration::from_millis(100), Duration::from_secs(1));
        Waiting { edit: patience, drain: patience, look, watch }
    }

    fn words(&self, _: Duration) -> Words {
        Words {
            serves: "it serves".to_owned(),
            gone: "it gets no new requests".to_owned(),
            late: "the proxy has not taken it up yet, see `nodeweir status`".to_owned(),
            idle: "it takes effect when `nodeweir up` runs".to_owned(),
            draining: None,
        }
    }

    fn command(&self, rest: &str) -> String {
        format!("`nodeweir {rest}`")
    }

    fn addresses(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        self.context.addresses_of(wanted)
    }

    fn after_edit(&self) -> &'static str {
        ""
    }
}
