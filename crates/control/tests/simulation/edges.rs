//! What one run of a flow holds of the world. Every call gives other runs a turn first, so that a run can die or be
//! overtaken between any two calls, and may fail before or after it took effect.

use std::future::poll_fn;
use std::task::Poll;

use jiff::Timestamp;

use crate::world::{State, World};

/// The edges of one run: the store, the published object, the service and the nodes, as they look from there.
#[derive(Debug, Clone)]
pub(crate) struct Edges {
    pub(crate) world: World,
    /// Which run: what it read is remembered under this number.
    pub(crate) run: u64,
    /// What the wall clock said when the run began; a run asks only once.
    pub(crate) now: Timestamp,
}

/// What can be out of order as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Store,
    Object,
    Service,
    Network,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Store, Self::Object, Self::Service, Self::Network];
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
}

/// Gives others a turn, once.
pub(crate) async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Who waits for several at once looks only at those that said they can go on.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Edges {
    /// Does `work` as fate has it. An error tells nothing about whether it took effect.
    pub(crate) async fn call<T>(
        &self,
        part: Part,
        what: &str,
        work: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, String> {
        turn().await;
        let mut state = self.world.state();
        let fate = state.fate(part);
        if fate != Fate::Works {
            let run = self.run;
            state.run(run).met_fault = true;
            state.tell(|| format!("run {run}: {what}: {fate:?}"));
        }
        if fate == Fate::FailsBefore {
            return Err("a fault before it took effect".to_owned());
        }
        let done = work(&mut state);
        if fate == Fate::FailsAfter { Err("a fault after it took effect".to_owned()) } else { Ok(done) }
    }
}
