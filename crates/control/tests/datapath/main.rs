//! The data path as it is: the real nginx and HAProxy, run with rendered files, between a client and nodes that do as
//! they are told. Each test goes through both programs; where they differ on purpose, it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod accepted;
mod addresses;
mod bodies;
mod client;
mod gate;
mod headers;
mod hops;
mod nodes;
mod rosters;
mod support;
mod tries;
mod upkeep;
mod websockets;
