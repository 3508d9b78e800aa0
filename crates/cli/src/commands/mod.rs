//! One module a command. Each reads, decides by the domain's rules, says what it did, and returns how it went.

mod check;
mod gate;
mod history;
mod key;
mod node;
mod plan;
mod probe;
mod project;
mod rollback;
mod status;
mod usage;

pub(crate) use gate::{is_there as is_gate_there, outlive as outlive_gate};
pub(crate) use key::make::random as random_secret;

use std::path::Path;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::context::Context;
use crate::output::{Outcome, Output};

/// Runs the command that was asked for.
pub(crate) async fn run(args: Args, output: Output) -> Result<Outcome> {
    let named = args.config.as_deref();
    let load = || Context::load(named);
    match args.command {
        Command::Up(up) if up.demo => crate::up::demo(output).await,
        Command::Up(up) => crate::up::run(Context::load(up.file.as_deref().or(named))?, output).await,
        Command::Demo(demo) => crate::demo::command(demo, output).await,
        Command::Node(node) => node::run(node, &load()?, output).await,
        Command::Project(project) => project::run(project, &load()?, output).await,
        Command::Key(key) => key::run(key, &load()?, output).await,
        Command::Usage { project, by, since } => usage::run(&project, by, since, &load()?, output).await,
        Command::Status { watch } => status::run(watch, &load()?, output).await,
        Command::Plan => plan::run(&load()?, output).await,
        Command::History { revision: Some(seq), .. } => history::text(seq, &load()?, output).await,
        Command::History { events: true, limit, .. } => history::events(limit, &load()?, output).await,
        Command::History { limit, .. } => history::revisions(limit, &load()?, output).await,
        Command::Rollback(rollback) => rollback::run(rollback, &load()?, output).await,
        Command::Check { file } => check::run(file.as_deref().or(named), output),
        Command::Probe { url, host } => probe::run(url, host, named, output).await,
        Command::Gate => gate::run(&load()?).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "nodeweir", &mut std::io::stdout());
            Ok(Outcome::Fine)
        }
    }
}

/// A configuration if there is one; commands that can do without use defaults.
fn load_if_any(named: Option<&Path>) -> Option<Context> {
    Context::load(named).ok()
}
