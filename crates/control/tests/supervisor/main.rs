//! The supervisor with real proxies: every scenario runs with nginx and with HAProxy. They are needed, not skipped.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bodies;
mod client;
mod rig;

mod applying;
mod crashes;
mod reloads;
mod secrets;
mod stopping;
mod unwritten;
mod usage;
