//! Whatever stands in the configuration file: it is refused with places, or it can be written down, read again and
//! rendered.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/tests/fleet/config.rs"]
mod config;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../crates/domain/tests/fleet/nodes.rs"]
mod nodes;
#[path = "../../crates/domain/tests/fleet/proxy/mod.rs"]
mod proxy;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../crates/domain/tests/fleet/sound.rs"]
mod sound;
#[path = "../../crates/domain/tests/fleet/twin.rs"]
mod twin;
#[path = "../../crates/domain/tests/fleet/written.rs"]
mod written;

fuzz_target!(|text: &[u8]| config::check(text));
