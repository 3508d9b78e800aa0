//! The suite of the stores over DynamoDB, and S3 and ECS as the flows need them; all against moto, an emulator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../../store/tests/contract/cases/accounts.rs"]
mod accounts;
#[path = "../../../store/tests/contract/cases/beats.rs"]
mod beats;
#[path = "../../../store/tests/contract/cases/health.rs"]
mod health;
#[path = "../../../store/tests/contract/cases/history.rs"]
mod history;
#[path = "../../../store/tests/contract/cases/items.rs"]
mod items;
#[path = "../../../store/tests/contract/cases/keys.rs"]
mod keys;
#[path = "../../../store/tests/contract/cases/pin.rs"]
mod pin;
#[path = "../../../store/tests/contract/cases/projects.rs"]
mod projects;
#[path = "../../../store/tests/contract/samples/mod.rs"]
mod samples;
#[path = "../../../store/tests/contract/suite.rs"]
mod suite;
#[path = "../../../store/tests/contract/cases/usage.rs"]
mod usage;
mod cases {
    pub(crate) use crate::{accounts, beats, health, history, items, keys, pin, projects, usage};
}
mod emulator;
mod gate;
mod object;
mod secrets;
mod service;
mod store;

pub(crate) use suite::{Place, Row, contract};
