//! Whatever stands in the node list: what becomes a node is sound, and what is rendered of it names exactly whom the
//! rosters name, in words that mean nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../crates/domain/tests/fleet/nodes.rs"]
mod nodes;
#[path = "../../crates/domain/tests/fleet/proxy/mod.rs"]
mod proxy;
#[path = "../../crates/domain/tests/fleet/sound.rs"]
mod sound;
#[path = "../../crates/domain/tests/fleet/twin.rs"]
mod twin;

fuzz_target!(|list: &[u8]| nodes::check_one(list, list.len()));
