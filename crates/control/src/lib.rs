//! The control path's flows and their edges.
//!
//! A flow ([`probe`], [`publish`], [`rollout`]) is level-triggered: it looks at everything, is never told why it was
//! called, and doing it twice changes nothing. What it needs from outside are the traits of [`edges`] and of the
//! store; `now` is an argument. The edges of one machine are here too: [`prober`], [`folder`], [`proxy`].

pub mod deploying;
pub mod edges;
pub mod folder;
pub mod limits;
pub mod listing;
pub mod probe;
pub mod prober;
pub mod proxy;
pub mod publish;
pub mod rollout;
pub mod told;
