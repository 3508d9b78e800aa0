//! From rosters to the text of a proxy's configuration.
//!
//! The text is the **body** of a revision: the same rosters and settings give the same bytes, it names no place on
//! the machine that runs it, and it holds `${NAME}` where a secret belongs and [`REVISION`] where the revision's
//! name belongs; both are put in by whoever runs it. What a template prints was made safe by type before: names,
//! URLs and hosts cannot hold a quote, a space, a brace or a line break.
//!
//! Everything is decided in [`View`]; the templates loop over it.

mod answers;
mod haproxy;
mod nginx;
mod view;

use crate::config::{Config, ProxyKind};
use crate::fleet::roster::Rosters;

pub use answers::{ANSWERS, Answer, gate_answers};
pub use view::{At, GateView, Group, Hop, NetworkView, Server, View};

/// Stands in the body where the running proxy shall say which revision it runs.
pub const REVISION: &str = "@REVISION@";

/// The body of a revision: what the proxy that `config` names shall run to serve `rosters`.
pub fn render(rosters: &Rosters, config: &Config) -> String {
    let view = View::new(rosters, config);
    match config.proxy.kind {
        ProxyKind::Nginx => nginx::render(&view),
        ProxyKind::Haproxy => haproxy::render(&view),
    }
}
