//! Process 1 of the proxy's image: keeps nginx or HAProxy on what is published.
//!
//! `nodeweir-proxy` needs no arguments; its environment says all, see [`settings`]. As process 1 of a container it is
//! first of all an [`init`]: it starts itself once more to do the work, hands signals on, and collects whatever processes
//! are left to it.

mod builtin;
mod follow;
mod init;
mod settings;

use std::process::ExitCode;

use tracing::error;
use tracing_subscriber::EnvFilter;

use settings::Settings;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("NODEWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_env_filter(filter).init();
    if rustix::process::getpid().is_init() {
        return init::run();
    }
    let done = Settings::read(&|name| std::env::var(name).ok()).and_then(|settings| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(follow::run(settings))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the proxy ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}
