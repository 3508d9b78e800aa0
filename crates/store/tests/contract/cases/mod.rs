//! The cases, by what is kept.

pub(crate) mod accounts;
pub(crate) mod beats;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod items;
pub(crate) mod keys;
pub(crate) mod pin;
pub(crate) mod projects;
pub(crate) mod usage;
