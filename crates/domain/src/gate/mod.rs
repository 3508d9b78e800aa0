//! Who may pass, in the order in which a request meets it:
//! `request -> key -> restrict -> rate -> credits -> decide`.
//!
//! Look first, spend last: a refused request consumes neither rate nor credits. The sidecar calls this for each request
//! and does what it says; nothing here waits, reads a clock or keeps anything.

pub mod account;
pub mod census;
pub mod clock;
pub mod decide;
pub mod key;
pub mod method;
pub mod period;
pub mod price;
pub mod project;
pub mod purse;
pub mod rate;
pub mod refusal;
pub mod request;
pub mod restrict;
#[cfg(test)]
mod simulation;
pub mod usage;
