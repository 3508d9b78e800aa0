//! Process 1 of the image as a container runs it: real nginx, real Ethereum nodes, the published object in an emulated S3.
//! The image around it is not needed for this: `tests/aws/chain/image` builds and runs that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod disk;
mod endurance;
mod following;
mod gated;
mod init;
mod rig;
mod stopping;
mod trouble;
mod websocket;

#[path = "../../../../tests/e2e/client.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod client;
#[path = "../../../../tests/e2e/nodes.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod nodes;
#[path = "../../../../tests/e2e/process.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod process;
