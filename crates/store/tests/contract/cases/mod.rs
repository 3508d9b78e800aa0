//! The cases, by what is kept.

pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod items;
pub(crate) mod pin;
