//! What every store must do, whichever it is: one suite, run over each.
//!
//! A case takes a [`Place`], which is one fresh store and the ways to it. [`sqlite`] runs all of them over the
//! embedded store, and tests there what only that one promises; `crates/aws/tests/contract` does so over DynamoDB.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod cases;
mod samples;
mod sqlite;
mod suite;

pub(crate) use suite::{Place, Row, contract};
