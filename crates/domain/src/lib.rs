//! What Nodeweir decides, without doing anything.
//!
//! Nothing here reads a file, a clock, the environment or the network: `now` is an argument, and the same input
//! gives the same bytes. The way of the data is the order of the modules in [`fleet`] and [`gate`]; [`config`] is what a person
//! wrote, checked.

pub mod config;
pub mod fleet;
pub mod gate;
pub mod name;
pub mod read;
pub mod text;
