//! The control path, in the order in which data takes it:
//! `node -> probe -> judge -> roster -> render, inspect -> plan`.

pub mod inspect;
pub mod judge;
pub mod node;
pub mod pin;
pub mod plan;
pub mod probe;
pub mod render;
pub mod revision;
pub mod roster;
