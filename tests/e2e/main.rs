//! End to end: the program as people run it, with the real nginx, the real HAProxy and real Ethereum nodes (`anvil`),
//! and the client libraries that people use.
//!
//! Nothing is skipped: where a proxy or anvil is missing, the tests fail and say what to install. Every scenario runs
//! with both proxies unless the proxy plays no part in it. All that is started is ended by its process id, also when
//! a test fails, and nothing waits for a fixed time: conditions are polled, with deadlines for a machine with two
//! busy cores.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod beside;
mod both;
mod client;
mod nodes;
mod process;
mod rig;
mod status;
mod steady;

mod clients;
mod commands;
mod damage;
mod demo;
mod failover;
mod gate;
mod health;
mod hostile;
mod operator;
mod output;
mod projects;
mod rejected;
mod restart;
mod rollback;
mod stage;
