//! `--stage`: the program against a stack on AWS. The emulator stands in for AWS, and the flows are called here as the
//! functions call them; their own programs are tested elsewhere.

mod drain;
mod edits;
mod gate;
mod state;
mod trouble;
mod world;
