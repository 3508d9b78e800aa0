//! Whatever a node answers to a probe: it is read as a second, slower reader does, and a failure's words hold no secret.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/tests/fleet/answer.rs"]
mod answer;
#[allow(dead_code, reason = "the other target uses the rest")]
#[path = "../../crates/domain/tests/tree/mod.rs"]
mod tree;

fuzz_target!(|body: &[u8]| answer::check(body));
