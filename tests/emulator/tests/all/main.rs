//! The emulator as other tests use it: the real moto, and a small program in place of a function.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod function;
mod moto;
mod proxy;
mod table;
