//! Runs the program of a Lambda function as Lambda does: one invocation at a time, in a process that stays for the next.

mod api;
mod instance;
mod quota;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::background;
use instance::{Instance, Process};

pub use quota::Quota;

/// How a function is deployed.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its name. It calls AWS with this as its access key, so that a [`Proxy`](crate::Proxy) can tell who calls.
    pub name: String,
    /// The program, called `bootstrap` on AWS.
    pub program: PathBuf,
    /// The folder that it was unpacked into, where it finds its other files and works.
    pub folder: PathBuf,
    /// Where AWS is.
    pub endpoint: String,
    /// The region it runs in.
    pub region: String,
    /// The account it runs in.
    pub account: String,
    /// Its own environment. What Lambda gives every function is added; of the test's environment it sees nothing.
    pub environment: Vec<(String, String)>,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// How long it may take to get ready.
    pub init_timeout: Duration,
    /// Said in its environment. Nothing limits it.
    pub memory_mb: u32,
    /// How much of the processor it gets; all of it if unset.
    pub quota: Option<Quota>,
}

impl Setting {
    /// A program in its own folder, with what Lambda has unless told otherwise, except for the timeout.
    pub fn new(name: &str, program: impl AsRef<Path>, endpoint: &str) -> Self {
        let program = program.as_ref().to_owned();
        Self {
            name: name.to_owned(),
            folder: program.parent().map_or_else(PathBuf::new, Path::to_owned),
            program,
            endpoint: endpoint.to_owned(),
            region: "eu-central-1".to_owned(),
            account: "123456789012".to_owned(),
            environment: Vec::new(),
            timeout: Duration::from_secs(60),
            init_timeout: Duration::from_secs(10),
            memory_mb: 512,
            quota: None,
        }
    }
}

/// Why an invocation did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionError {
    /// The function's own name for it; `Runtime.ExitError` and `Sandbox.Timedout` are Lambda's.
    pub kind: String,
    /// What a person reads.
    pub message: String,
    /// Whatever else it said, as it said it.
    pub body: Value,
}

impl FunctionError {
    /// One with nothing else to it.
    pub fn new(kind: &str, message: &str) -> Self {
        Self { kind: kind.to_owned(), message: message.to_owned(), body: Value::Null }
    }

    /// What whoever invoked it reads.
    pub(crate) fn to_json(&self) -> Value {
        match &self.body {
            Value::Null => json!({"errorType": self.kind, "errorMessage": self.message}),
            body => body.clone(),
        }
    }
}

/// A deployed function. Its clones are the same function; when the last is gone, so is its process.
#[derive(Debug, Clone)]
pub struct Function(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setting: Setting,
    /// Holds what it prints.
    place: TempDir,
    running: Mutex<Option<Instance>>,
    process: Process,
    starts: std::sync::Mutex<Vec<Duration>>,
    peak_kib: std::sync::Mutex<u64>,
}

impl Function {
    /// Deploys it; it starts when it is first invoked, or by [`Function::start`].
    pub fn new(setting: Setting) -> Self {
        assert!(setting.program.is_file(), "there is no program at {}: build it first", setting.program.display());
        Self(Arc::new(Inner {
            setting,
            place: tempfile::tempdir().expect("a temporary folder"),
            running: Mutex::default(),
            process: Process::default(),
            starts: std::sync::Mutex::default(),
            peak_kib: std::sync::Mutex::default(),
        }))
    }

    /// A cold start without an invocation, if it does not run: how long it took from its start to its asking for work.
    pub async fn start(&self) -> Result<Option<Duration>, FunctionError> {
        let inner = Arc::clone(&self.0);
        background::run(async move {
            let mut running = inner.running.lock().await;
            let before = inner.starts.lock().unwrap().len();
            inner.ready(&mut running).await?;
            Ok(inner.starts.lock().unwrap().get(before).copied())
        })
        .await
    }

    /// Invokes it, after those that were before. A process that ended since is started anew, as Lambda does.
    pub async fn invoke(&self, payload: Value) -> Result<Value, FunctionError> {
        let inner = Arc::clone(&self.0);
        background::run(async move { inner.invoke(payload).await }).await
    }

    /// How long each cold start took, from the start of the process to its asking for work.
    pub fn starts(&self) -> Vec<Duration> {
        self.0.starts.lock().unwrap().clone()
    }

    /// The most memory that was resident at once, of any of its processes, in KiB, after its last invocation.
    pub fn peak_kib(&self) -> u64 {
        *self.0.peak_kib.lock().unwrap()
    }

    /// Every line that it printed, on standard output or error, from its first start on.
    pub fn lines(&self) -> Vec<String> {
        let said = std::fs::read(self.0.said()).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
    }

    /// Those of them that are JSON: log lines, and metrics in the embedded metric format, which have `_aws`.
    pub fn json_lines(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
    }

    /// The process that runs now, busy or idle.
    pub fn pid(&self) -> Option<i32> {
        self.0.process.lock().unwrap().map(Pid::as_raw_pid)
    }

    /// Ends its process as `kill -9` does, also in the middle of an invocation, which then fails.
    pub fn kill(&self) {
        instance::kill(&self.0.process);
    }
}

impl Inner {
    fn said(&self) -> PathBuf {
        self.place.path().join("said")
    }

    /// An instance that waits for work: the one that is there, or a new one.
    async fn ready<'a>(&self, running: &'a mut Option<Instance>) -> Result<&'a mut Instance, FunctionError> {
        if running.as_mut().is_none_or(Instance::has_ended) {
            *running = None;
            let begun = Instant::now();
            let fresh = Instance::start(&self.setting, &self.said(), &self.process).await?;
            self.starts.lock().unwrap().push(begun.elapsed());
            *running = Some(fresh);
        }
        running.as_mut().ok_or_else(|| FunctionError::new("Runtime.Unknown", "it did not start"))
    }

    async fn invoke(&self, payload: Value) -> Result<Value, FunctionError> {
        let mut running = self.running.lock().await;
        let instance = self.ready(&mut running).await?;
        let deadline = SystemTime::now() + self.setting.timeout;
        let outcome = tokio::time::timeout(self.setting.timeout, instance.invoke(payload, deadline)).await;
        if let Some(peak) = instance.peak_kib() {
            let mut known = self.peak_kib.lock().unwrap();
            *known = peak.max(*known);
        }
        outcome.unwrap_or_else(|_| {
            // Lambda ends what did not finish, and starts anew next time.
            *running = None;
            let message = format!("Task timed out after {:.2} seconds", self.setting.timeout.as_secs_f64());
            Err(FunctionError::new("Sandbox.Timedout", &message))
        })
    }
}
