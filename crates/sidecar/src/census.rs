//! Says that this gate is there, and counts those that are.

use std::sync::Arc;
use std::time::Duration;

use nodeweir_domain::gate::census::{BEAT_EVERY, Beat, Census};
use nodeweir_store::GateStore;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::gate::Gate;
use crate::metrics::CallOutcome;

/// Until the first count, this often: a gate that knows of no other takes the whole rate for its own.
const AT_FIRST: Duration = Duration::from_millis(500);

/// For one beat and one look. A store that is only slow still counts.
const CALL: Duration = Duration::from_secs(8);

/// For the goodbye.
const LEAVE: Duration = Duration::from_secs(2);

/// What one gate does for it.
pub(crate) struct Counting<S> {
    gate: Arc<Gate<S>>,
    census: Census,
    number: u64,
    is_counted: bool,
    /// Whether the last try succeeded; none before the first.
    works: Option<bool>,
}

impl<S: GateStore + 'static> Counting<S> {
    pub(crate) fn new(gate: Arc<Gate<S>>) -> Self {
        Self { gate, census: Census::default(), number: 0, is_counted: false, works: None }
    }

    /// Beats and counts once.
    pub(crate) async fn once(&mut self) {
        let (ledger, now) = (&self.gate.ledger, self.gate.clock.now());
        self.number += 1;
        let beat = Beat { sidecar: ledger.sidecar.clone(), number: self.number, at: now.at };
        let counted = timeout(CALL, async {
            ledger.store.beat(&beat).await?;
            ledger.store.beats().await
        });
        let why = match counted.await {
            Ok(Ok(beats)) => {
                ledger.metrics.note_store("beat", CallOutcome::ok);
                ledger.set_live(self.census.count(&ledger.sidecar, &beats, now.at));
                self.is_counted = true;
                if self.works.replace(true) == Some(false) {
                    info!("the gates can be counted again");
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        ledger.metrics.note_store("beat", CallOutcome::failed);
        if self.works.replace(false) != Some(false) {
            warn!(why, live = ledger.live(), "the gates cannot be counted; limits are shared as before");
        }
    }

    /// Goes on with it until it is dropped.
    pub(crate) async fn go_on(mut self) {
        loop {
            sleep(if self.is_counted { BEAT_EVERY } else { AT_FIRST }).await;
            self.once().await;
        }
    }
}

/// Takes this gate out of the count.
pub(crate) async fn leave<S: GateStore>(gate: &Gate<S>) {
    if !matches!(timeout(LEAVE, gate.ledger.store.leave(&gate.ledger.sidecar)).await, Ok(Ok(()))) {
        warn!("the other gates cannot be told that this one stops; they notice it within seconds");
    }
}
