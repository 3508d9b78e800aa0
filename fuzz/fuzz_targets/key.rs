//! Whatever stands where a key is expected: it is one or none, and nothing that is shown of one gives it away.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/tests/gate/key.rs"]
mod key;

fuzz_target!(|text: &[u8]| key::check(text));
