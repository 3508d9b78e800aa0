//! How each proxy is run, checked and told to reload.

use std::process::Command;

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;

use super::folder::{CA_FILE, Folder, HAPROXY_HOST, HAPROXY_SCRIPT};
use super::process::NGINX_ARG0;
use super::program::Program;

/// Names the certificates that HAProxy verifies nodes with.
const CA_VARIABLE: &str = "NODEWEIR_CA_FILE";

/// The command that serves the live file, in the foreground.
pub(super) fn serve(program: &Program, folder: &Folder) -> Command {
    let live = program.kind.file_name();
    let command = match program.kind {
        ProxyKind::Nginx => {
            let mut command = program.command(NGINX_ARG0);
            // Without -e it opens the error log it was built with before it reads ours.
            command.args(["-e", "stderr", "-p", "./", "-c", live]);
            command
        }
        ProxyKind::Haproxy => {
            // It runs its first argument anew at each reload.
            let mut command = if program.root.is_some() {
                let mut by_script = Command::new(folder.path.join(HAPROXY_SCRIPT));
                let plain = program.command("");
                by_script.env_clear();
                by_script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
                by_script
            } else {
                program.command(&program.file)
            };
            command.args(["-W", "-f", HAPROXY_HOST, "-f", live]);
            command
        }
    };
    at_home(command, folder)
}

/// The command that checks the candidate: 0 means good.
pub(super) fn check(program: &Program, folder: &Folder) -> Command {
    let candidate = folder.candidate();
    let mut command = program.command(format!("nodeweir-{}-check", program.kind));
    match program.kind {
        ProxyKind::Nginx => command.args(["-t", "-q", "-e", "stderr", "-p", "./", "-c", &candidate]),
        ProxyKind::Haproxy => command.args(["-c", "-f", HAPROXY_HOST, "-f", &candidate]),
    };
    at_home(command, folder)
}

/// In the proxy's folder, and with the variable by which a HAProxy revision names the certificates. Their usual
/// name there, `@system-ca`, is a folder fixed when OpenSSL was built, which other systems do not have.
fn at_home(mut command: Command, folder: &Folder) -> Command {
    command.current_dir(&folder.path).env(CA_VARIABLE, CA_FILE);
    command
}

/// What makes a master read its files again.
pub(super) fn reload_signal(kind: ProxyKind) -> Signal {
    match kind {
        ProxyKind::Nginx => Signal::HUP,
        ProxyKind::Haproxy => Signal::USR2,
    }
}
