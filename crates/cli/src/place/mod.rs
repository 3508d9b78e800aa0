//! Where the fleet and its gate are that a command is about: on this machine, or a stage on AWS. Commands ask here for the
//! store, the published object and what is known of what runs, and for the words in which people are told of them.

mod machine;
mod stage;

use std::time::Duration;

use anyhow::Result;
use nodeweir_control::edges::{EdgeError, PublishedObject, ServiceState};
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::{NetworkId, StageName};
use nodeweir_store::sqlite::Runtime;
use nodeweir_store::{FleetStore, GateStore};

use crate::context::Context;

pub(crate) use machine::Machine;
pub(crate) use stage::{Stage, log_of};

/// A fleet's place.
pub(crate) trait Place {
    type Store: FleetStore + GateStore;
    type Object: PublishedObject;

    fn context(&self) -> &Context;

    fn store(&self) -> &Self::Store;

    fn published(&self) -> Result<Self::Object, EdgeError>;

    /// What is known of whatever keeps the fleet.
    async fn runs(&self) -> Result<Runs>;

    /// Whether anything takes up edits now, so that it is worth waiting for what follows.
    fn is_kept(&self) -> bool;

    /// The revision in which an edit must be to have come through.
    async fn taken_up(&self) -> Result<Option<Revision>>;

    /// The revision that all requests are routed by, if that is known: what a drained node must be out of.
    async fn in_service(&self) -> Result<Option<Revision>>;

    fn waiting(&self) -> Waiting;

    /// `waited` is for how long at most.
    fn words(&self, waited: Duration) -> Words;

    /// A command to call next, as people would have to write it.
    fn command(&self, rest: &str) -> String;

    /// Where clients call the networks that are `wanted`, the default one first.
    fn addresses(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String>;

    /// What makes an edit of the configuration's file count, as the end of a sentence about such an edit.
    fn after_edit(&self) -> &'static str;
}

/// What is known of whatever keeps a fleet.
#[derive(Debug)]
pub(crate) enum Runs {
    /// `nodeweir up` on this machine.
    Up {
        is_up: bool,
        /// What it says of itself; none while it starts.
        runtime: Option<Runtime>,
    },
    /// Functions and an ECS service.
    Stage {
        name: StageName,
        /// What ECS says. `None` where the tasks alone know what they run (`rollout.mode: reload`).
        service: Option<Result<ServiceState, EdgeError>>,
    },
}

/// How long and how often to look at what is going on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Until it has come through.
    pub(crate) edit: Duration,
    /// Until no request is routed by what was before.
    pub(crate) drain: Duration,
    /// Between two looks at what became of it.
    pub(crate) look: Duration,
    /// Between two pictures of `status --watch`.
    pub(crate) watch: Duration,
}

/// What people are told of an edit.
#[derive(Debug)]
pub(crate) struct Words {
    /// A healthy node is in it.
    pub(crate) serves: String,
    /// A node is out of it.
    pub(crate) gone: String,
    /// It has not come through in time.
    pub(crate) late: String,
    /// Nothing takes it up now.
    pub(crate) idle: String,
    /// What a drain waits for, if that takes long.
    pub(crate) draining: Option<String>,
}

async fn parsed(object: &impl PublishedObject) -> Result<Option<Revision>, EdgeError> {
    Ok(object.get().await?.and_then(|(_, text)| Revision::parse(&text).ok()))
}
