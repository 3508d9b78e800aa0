//! The gate as nginx sees it: real HTTP on a real socket, a real store, and one that fails when it is told to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod answers;
mod counting;
mod faulty;
mod limits;
mod outages;
mod redis;
mod rig;
#[path = "../../../../tests/e2e/steady.rs"]
mod steady;
