//! One process of a function, from its cold start to its end.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tokio::sync::watch;

use super::api::{Api, Outcome};
use super::quota::Group;
use super::{FunctionError, Quota, Setting};

/// Both of util-linux.
const SETPRIV: &str = "/usr/bin/setpriv";
const PRLIMIT: &str = "/usr/bin/prlimit";

/// Files and connections that a function may have open.
const FILES: u32 = 1024;

/// The process, if it runs: shared with whoever may want to kill it.
pub(super) type Process = Arc<Mutex<Option<Pid>>>;

pub(super) struct Instance {
    api: Api,
    process: Process,
    ended: watch::Receiver<Option<ExitStatus>>,
    waiter: Option<JoinHandle<()>>,
}

impl Instance {
    /// Starts the process and waits until it asks for work. What it prints goes to a file: and not to a pipe, so that
    /// what was printed before an answer can be read after it.
    ///
    /// Called in a thread of this crate's own.
    pub(super) async fn start(setting: &Setting, said: &Path, process: &Process) -> Result<Self, FunctionError> {
        let api = Api::start(setting);
        let said = File::options().create(true).append(true).open(said).expect("a file for its output");
        let group = setting.quota.map(Quota::group);
        let mut words = group.as_ref().map(Group::words).unwrap_or_default();
        // The kernel ends it with the thread that starts it, which is one of this crate's own and lasts to the end: so it
        // does not outlive a test that is killed.
        words.extend([SETPRIV, "--pdeathsig", "KILL", "--"].map(OsString::from));
        words.extend([PRLIMIT.into(), format!("--nofile={FILES}:{FILES}").into()]);
        words.push(setting.program.clone().into());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(&setting.folder)
            .env_clear()
            .envs(environment(setting, &api.address()))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a second handle"))
            .stderr(said)
            .spawn()
            .map_err(|error| FunctionError::new("Runtime.InvalidEntrypoint", &error.to_string()))?;
        *process.lock().unwrap() = Some(Pid::from_child(&child));
        let (tell, ended) = watch::channel(None);
        let waiter = std::thread::spawn({
            let process = Arc::clone(process);
            move || {
                tell.send_replace(Some(wait(child, &process)));
                // Nothing runs in it any more.
                drop(group);
            }
        });
        let instance = Self { api, process: Arc::clone(process), ended, waiter: Some(waiter) };
        let ready = async {
            tokio::select! {
                biased;
                ready = instance.api.ready() => ready,
                error = instance.end() => Err(error),
            }
        };
        match tokio::time::timeout(setting.init_timeout, ready).await {
            Ok(ready) => ready.map(|()| instance),
            Err(_) => Err(FunctionError::new("Sandbox.Timedout", "it was not ready in time")),
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Gives the process work, waits for what comes of it, and until the process asks for more or ends.
    pub(super) async fn invoke(&mut self, payload: Value, deadline: SystemTime) -> Outcome {
        let outcome = self.api.give(payload, deadline);
        let outcome = tokio::select! {
            biased;
            Ok(outcome) = outcome => outcome,
            error = self.end() => return Err(error),
        };
        tokio::select! {
            () = self.api.idle() => {}
            _ = self.end() => {}
        }
        outcome
    }

    /// Waits for the process to end.
    async fn end(&self) -> FunctionError {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        let status = status.map_or_else(|| "it cannot be known how".to_owned(), |status| status.to_string());
        FunctionError::new("Runtime.ExitError", &format!("Runtime exited: {status}"))
    }

    /// The most memory that was resident at once until now.
    pub(super) fn peak_kib(&self) -> Option<u64> {
        let pid = (*self.process.lock().unwrap())?;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        kill(&self.process);
        if let Some(waiter) = self.waiter.take() {
            // A process that was killed ends at once.
            let _ = waiter.join();
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("process", &self.process).finish_non_exhaustive()
    }
}

/// As `kill -9` does.
pub(super) fn kill(process: &Process) {
    if let Some(pid) = *process.lock().unwrap() {
        // It may have ended already, but its number is still its own.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Waits for the end of a process, and only forgets its number while nobody can use it.
fn wait(mut child: Child, process: &Process) -> ExitStatus {
    let pid = Pid::from_child(&child);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let mut process = process.lock().unwrap();
    let status = child.wait().expect("a child that has ended");
    *process = None;
    status
}

/// What a function on `provided.al2023` finds, and its own.
fn environment(setting: &Setting, api: &str) -> Vec<(String, String)> {
    let folder = setting.folder.display().to_string();
    let memory = setting.memory_mb.to_string();
    let group = format!("/aws/lambda/{}", setting.name);
    let given = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("_HANDLER", "bootstrap"),
        ("LAMBDA_TASK_ROOT", &folder),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("AWS_LAMBDA_FUNCTION_NAME", &setting.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]00000000000000000000000000000000"),
        ("AWS_REGION", &setting.region),
        ("AWS_DEFAULT_REGION", &setting.region),
        ("AWS_ACCESS_KEY_ID", &setting.name),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_SESSION_TOKEN", "nothing"),
        ("AWS_ENDPOINT_URL", &setting.endpoint),
    ];
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    given.chain(setting.environment.iter().cloned()).collect()
}
