//! What a container's process 1 must do beside its work: collect processes whose parents are gone, which become its
//! children, and hand signals on, which the kernel does not deliver to it by default.

use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;

/// Starts this program once more, and ends with it.
pub(crate) fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(keep())) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error!("the container cannot start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn keep() -> anyhow::Result<u8> {
    // Before the child: none of its signals may be missed.
    let mut ended = signal(SignalKind::child())?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut quit = signal(SignalKind::quit())?;
    let child = Command::new(std::env::current_exe()?).spawn()?;
    let child = Pid::from_child(&child);
    loop {
        let told = tokio::select! {
            _ = ended.recv() => None,
            _ = terminate.recv() => Some(Signal::TERM),
            _ = interrupt.recv() => Some(Signal::INT),
            // What images of nginx are told to stop by.
            _ = quit.recv() => Some(Signal::TERM),
        };
        if let Some(signal) = told {
            // It may have ended; then that is seen next.
            let _ = kill_process(child, signal);
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
            }
        }
    }
}
