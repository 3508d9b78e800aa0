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

pub(crate) use key::make::random as random_secret;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::context::{Context, Usage};
use crate::output::{Outcome, Output};
use crate::place::{Machine, Stage};

/// Runs the command that was asked for.
pub(crate) async fn run(args: Args, output: Output) -> Result<Outcome> {
    let (named, stage) = (args.config.as_deref(), args.stage.as_ref());
    if let (Some(stage), Some(why)) = (stage, args.command.only_here()) {
        return Err(Usage(format!("this does not work on stage {stage}: {why}")).into());
    }
    let load = || Context::load(named, stage);
    /// Runs what can be done to a fleet or its gate wherever they are.
    macro_rules! at {
        ($place:ident => $command:expr) => {
            match stage {
                None => {
                    let $place = &Machine::open(load()?)?;
                    $command.await
                }
                Some(stage) => {
                    let $place = &Stage::find(load()?, stage.clone()).await?;
                    $command.await
                }
            }
        };
    }
    match args.command {
        Command::Up(up) if up.demo => crate::up::demo(output).await,
        Command::Up(up) => {
            let context = Context::load(up.file.as_deref().or(named), None)?;
            if up.no_proxy { crate::up::watch(context, output).await } else { crate::up::run(context, output).await }
        }
        Command::Demo(demo) => crate::demo::command(demo, output).await,
        Command::Node(node) => at!(place => node::run(node, place, output)),
        Command::Project(project) => at!(place => project::run(project, place, output)),
        Command::Key(key) => at!(place => key::run(key, place, output)),
        Command::Usage(used) => at!(place => usage::run(used, place, output)),
        Command::Status { watch } => at!(place => status::run(watch, place, output)),
        Command::Plan => at!(place => plan::run(place, output)),
        Command::History { revision: Some(seq), .. } => at!(place => history::text(seq, place, output)),
        Command::History { events: true, limit, .. } => at!(place => history::events(limit, place, output)),
        Command::History { limit, .. } => at!(place => history::revisions(limit, place, output)),
        Command::Rollback(rollback) => at!(place => rollback::run(rollback, place, output)),
        Command::Check { file } => check::run(file.as_deref().or(named), stage, output),
        Command::Probe { url, host } => probe::run(url, host, load().ok(), output).await,
        Command::Gate => gate::run(&load()?).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "nodeweir", &mut std::io::stdout());
            Ok(Outcome::Fine)
        }
    }
}

impl Command {
    /// Why it is for this machine alone, and what to do; nothing if it works on a stage too.
    fn only_here(&self) -> Option<&'static str> {
        match self {
            Self::Up(_) | Self::Gate => Some(
                "`up` keeps a fleet on this machine, and a stage is kept by its functions, see docs/deploy.md; leave out \
                 --stage and unset NODEWEIR_STAGE to run one here",
            ),
            Self::Demo(_) => Some(
                "`demo` breaks the simulated nodes of `up --demo` on this machine; leave out --stage and unset \
                 NODEWEIR_STAGE",
            ),
            Self::Node(_)
            | Self::Project(_)
            | Self::Key(_)
            | Self::Usage(_)
            | Self::Status { .. }
            | Self::Plan
            | Self::History { .. }
            | Self::Rollback(_)
            | Self::Check { .. }
            | Self::Probe { .. }
            | Self::Completions { .. } => None,
        }
    }
}
