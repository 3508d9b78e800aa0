//! The command line. Commands are noun and verb; everything that changes something can be tried with `--dry-run`.

mod gate;
mod usage;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use nodeweir_domain::fleet::node::NodeUrl;
use nodeweir_domain::name::{NetworkId, NodeName, StageName};

use std::time::Duration;

pub(crate) use gate::{Clearable, Granted, Key, Limits, Named as NamedKey, Project, Uses};
pub(crate) use usage::{Export, Range, UsageBy, Used};

/// One JSON-RPC address in front of your Ethereum nodes that stays right while they die, lag and come back.
///
/// Exit code: 0 fine, 1 degraded or refused, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "nodeweir", version, propagate_version = true)]
pub(crate) struct Args {
    /// The configuration file [default: config.local.yml, or that of the demo in this folder; config.STAGE.yml with
    /// --stage]
    #[arg(long, global = true, env = "NODEWEIR_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The deployment on AWS that the command is about, such as dev, instead of this machine
    #[arg(long, global = true, env = "NODEWEIR_STAGE", value_name = "STAGE")]
    pub(crate) stage: Option<StageName>,
    /// Print JSON instead of tables and sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch the nodes and keep the proxy in front of them, until stopped
    Up(Up),
    /// Break and heal the nodes of a running `up --demo`
    #[command(subcommand)]
    Demo(Demo),
    /// The node list
    #[command(subcommand)]
    Node(Node),
    /// Who may call, and how much
    #[command(subcommand)]
    Project(Project),
    /// How a project's applications prove who they are
    #[command(subcommand)]
    Key(Key),
    /// What a project used, and what it cost
    Usage(Used),
    /// Which node is how, since when and why, and what is live
    Status {
        /// Show it again and again
        #[arg(long)]
        watch: bool,
    },
    /// What would be published now, as a difference, and why
    Plan,
    /// Revisions and events, newest first; or one revision's text
    History {
        /// Print this revision's text
        revision: Option<u64>,
        /// Show events (flips, edits, publishes) instead of revisions
        #[arg(long, conflicts_with = "revision")]
        events: bool,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Publish an earlier revision's nodes again, for a while
    Rollback(Rollback),
    /// Check a configuration file and this machine; changes nothing
    Check {
        /// The file [default: as for the other commands]
        file: Option<PathBuf>,
    },
    /// Ask an address what a probe would ask, step by step
    Probe {
        /// The node's URL
        url: NodeUrl,
        /// A Host header of its own
        #[arg(long)]
        host: Option<String>,
    },
    /// The gate's process, as `up` starts it
    #[command(hide = true)]
    Gate,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// The configuration file [default: config.local.yml]
    #[arg(conflicts_with = "demo")]
    pub(crate) file: Option<PathBuf>,
    /// Bring three simulated nodes and a simulated leader, so that nothing else is needed
    #[arg(long)]
    pub(crate) demo: bool,
    /// Watch and publish only: a `nodeweir-proxy` that has the same state runs what is published, and the gate
    #[arg(long, conflicts_with = "demo")]
    pub(crate) no_proxy: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Demo {
    /// Make nodes refuse connections
    Stop {
        /// Simulated nodes, or `all` for all but the leader
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Make nodes right again
    Start {
        /// Simulated nodes, or `all` for all but the leader
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Make a node fall behind
    Lag {
        /// A simulated node, or `all` for all but the leader
        node: String,
        /// How many blocks
        #[arg(default_value_t = 20)]
        blocks: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List all nodes
    List {
        /// Only this network
        network: Option<NetworkId>,
    },
    /// Add a node; it is probed at once and live on success
    Add {
        #[command(flatten)]
        node: Named,
        /// Its JSON-RPC URL, such as `http://10.0.0.5:8545`
        url: String,
        #[command(flatten)]
        attributes: Attributes,
        /// `node` or `leader`
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Change a node; what is not named stays as it is
    Edit {
        #[command(flatten)]
        node: Named,
        /// Its JSON-RPC URL
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        attributes: Attributes,
        #[command(flatten)]
        change: Change,
    },
    /// Remove a node from the list
    Remove {
        #[command(flatten)]
        node: Named,
        #[command(flatten)]
        change: Change,
    },
    /// Keep traffic away from a node, whatever its health
    Cordon(Cordon),
    /// Let a cordoned node have traffic again when it is healthy
    Uncordon {
        #[command(flatten)]
        node: Named,
        #[command(flatten)]
        change: Change,
    },
    /// Cordon a node and wait until no request can be on its way to it
    Drain(Cordon),
}

/// Which node.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Named {
    /// The network, such as ethereum
    pub(crate) network: NetworkId,
    /// The node's short name
    pub(crate) name: NodeName,
}

/// How a change is made.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Change {
    /// Say what would change and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do it even if the last healthy node goes
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait for it to come through, such as 10s [default: 10s; with --stage 60s, and a deployment's time for
    /// a drain]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Attributes {
    /// Share of the traffic relative to the other nodes, 1 to 100
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u64>,
    /// Its WebSocket URL; empty to remove it
    #[arg(long, value_name = "URL")]
    pub(crate) ws_url: Option<String>,
    /// A Host header of its own; empty to remove it
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// A note for people; empty to remove it
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Cordon {
    #[command(flatten)]
    pub(crate) node: Named,
    /// Why, for whoever asks later
    #[arg(long, default_value = "")]
    pub(crate) why: String,
    /// End it by itself after this time, such as 30m
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub(crate) for_: Option<Duration>,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The revision, as `history` lists it
    #[arg(required_unless_present = "release")]
    pub(crate) revision: Option<u64>,
    /// How long, such as 30m
    #[arg(long = "for", value_parser = duration, default_value = "1h", value_name = "TIME")]
    pub(crate) for_: Duration,
    /// Why, for whoever asks later
    #[arg(long, default_value = "")]
    pub(crate) why: String,
    /// End the rollback in force
    #[arg(long, conflicts_with = "revision")]
    pub(crate) release: bool,
    /// Say what would change and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    nodeweir_domain::text::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
