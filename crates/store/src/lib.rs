//! Where state lives: the node list, health, history, and who changed what; projects, keys, credits and usage.
//!
//! [`FleetStore`] and [`GateStore`] have the semantics of the hardest store they must run on: every write that could
//! lose another's is conditional, and a lost race is an answer, not an error. [`sqlite`] is the embedded one; several
//! processes may use one file at once.

mod fleet;
mod gate;
pub mod sqlite;

pub use fleet::{Event, FleetStore, Kept, RevisionSummary, Written};
pub use gate::{Each, GateStore, LAPSE_LAG, USAGE_ROWS};

/// Why the store could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or is busy for too long; the same call may work later.
    #[error("the store {place} cannot be used now: {why}")]
    Unavailable {
        /// Which store.
        place: String,
        /// What it said.
        why: String,
    },
    /// What the store holds cannot be understood.
    #[error("the store {place} holds {what} that cannot be read: {why}")]
    Unreadable {
        /// Which store.
        place: String,
        /// What it holds.
        what: &'static str,
        /// Why it cannot be read.
        why: String,
    },
    /// It was given more than it takes at once; nothing was written.
    #[error("the store takes {most} rows at once, not {given}")]
    TooMany {
        /// How many were given.
        given: usize,
        /// How many it takes.
        most: usize,
    },
    /// A newer program wrote it.
    #[error(
        "the store {place} was written by a newer Nodeweir (schema {found}, this program knows {known}): use that one"
    )]
    Newer {
        /// Which store.
        place: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
}
