//! The control path on AWS, from a node that dies to a deployment: the real template in an emulator of AWS, the real
//! function programs under a runtime API, real Ethereum nodes. The harness does what AWS does between them: it carries
//! what the tables' streams, the bucket and the service say to the functions that the template names. Where images can be
//! built, the proxy's image is the service's task.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod carrier;
mod chain;
mod faults;
mod image;
mod large;
mod operators;
mod permissions;
mod template;
mod world;

#[path = "../../e2e/client.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod client;
#[path = "../../e2e/nodes.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod nodes;
#[path = "../../e2e/process.rs"]
#[allow(dead_code, reason = "the programs' tests need more of it")]
mod process;
