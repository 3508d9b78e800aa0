//! Whatever bytes are sent: the gate reads them as a second, slower reader does, and its answers are JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/tests/gate/request.rs"]
mod request;
#[path = "../../crates/domain/tests/tree/mod.rs"]
mod tree;

fuzz_target!(|body: &[u8]| request::check(body));
