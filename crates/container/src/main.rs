//! Process 1 of the proxy's image: keeps nginx or HAProxy on what is published.
//!
//! `nodeweir-proxy` needs no arguments; its environment says all, see [`settings`]. `nodeweir-proxy ready` exits with 0 if
//! the proxy of the same environment is ready. As process 1 of a container it is first of all an [`init`]: it starts
//! itself once more to do the work, hands signals on, and collects whatever processes are left to it. The worker [`follow`]s,
//! and has the proxy and, if it is switched on, the [`gate`] as children.

mod builtin;
mod follow;
mod gate;
mod init;
mod ready;
mod settings;
mod tally;

use std::process::ExitCode;

use anyhow::anyhow;
use rustix::process::getpid;
use tracing::error;
use tracing_subscriber::EnvFilter;

use settings::Settings;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let settings = || Settings::read(&|name| std::env::var(name).ok());
    if words == ["gate"] {
        // Its log is another.
        return match settings().and_then(gate::run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let filter = EnvFilter::try_from_env("NODEWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_env_filter(filter).init();
    let done = match words.as_slice() {
        [] if getpid().is_init() => return init::run(),
        [] => settings().and_then(follow::run),
        [word] if word == "ready" => settings().and_then(|settings| ready::ask(settings.config.proxy.listen)),
        _ => Err(anyhow!("expected no arguments, or `ready`; found {}", words.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
