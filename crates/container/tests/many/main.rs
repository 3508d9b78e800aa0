//! Many gates beside one store: each a task of its own with real nginx, and an emulated DynamoDB between them.
//!
//! The quick form takes a minute or two. `NODEWEIR_MANY=long cargo test --workspace --test many` is the long one: pauses beyond a
//! lease and until it is written off, and ten minutes without the store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod credits;
mod limits;
mod load;
mod redis;
mod time;
mod trouble;
mod world;

#[path = "../../../../tests/e2e/client.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod client;
#[path = "../../../../tests/e2e/nodes.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod nodes;
#[path = "../../../../tests/e2e/process.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod process;
#[path = "../follow/rig.rs"]
#[allow(dead_code, reason = "the tests of one task need more of it")]
mod rig;
#[path = "../../../../tests/e2e/steady.rs"]
mod steady;
