//! The suite of the stores over DynamoDB, and S3 and ECS as the flows need them; all against moto, an emulator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../../store/tests/contract/cases/health.rs"]
mod health;
#[path = "../../../store/tests/contract/cases/history.rs"]
mod history;
#[path = "../../../store/tests/contract/cases/items.rs"]
mod items;
#[path = "../../../store/tests/contract/cases/pin.rs"]
mod pin;
#[path = "../../../store/tests/contract/samples/mod.rs"]
#[allow(dead_code, reason = "some are for stores of the gate")]
mod samples;
#[path = "../../../store/tests/contract/suite.rs"]
#[allow(dead_code, reason = "some rows are of stores of the gate")]
mod suite;
mod cases {
    pub(crate) use crate::{health, history, items, pin};
}
mod emulator;
mod object;
mod secrets;
mod service;
mod store;

#[allow(unused_imports, reason = "the cases name it")]
pub(crate) use suite::{Place, Row, contract};
