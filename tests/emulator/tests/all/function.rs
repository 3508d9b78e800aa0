//! A program under the Runtime API: what it is told, what becomes of its answers, its errors and its ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nodeweir_emulator::{Function, FunctionError, Quota, Setting};
use serde_json::{Value, json};

fn setting() -> Setting {
    Setting::new("probe", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/function.py"), "http://127.0.0.1:1")
}

fn with(name: &str, value: &str) -> Setting {
    Setting { environment: vec![(name.to_owned(), value.to_owned())], ..setting() }
}

fn runs(pid: &Value) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// It prints a line of JSON when it has been given work.
fn is_busy(function: &Function) -> bool {
    !function.json_lines().is_empty()
}

async fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_process_stays_for_the_next_invocation() {
    let function = Function::new(setting());
    assert_eq!((function.starts().len(), function.pid()), (0, None));
    let first = function.invoke(json!({"n": 1})).await.unwrap();
    assert_eq!(first["got"], json!({"n": 1}));
    let second = function.invoke(json!({"n": 2})).await.unwrap();
    assert_eq!(first["pid"], second["pid"]);
    assert_eq!(function.pid().map(Value::from), Some(second["pid"].clone()));
    assert_eq!(function.starts().len(), 1);
    assert!(function.peak_kib() > 1000);
    drop(function);
    assert!(!runs(&first["pid"]), "it does not outlive its function");
}

/// Without any waiting: an invocation is over when everything it prints is there.
#[tokio::test]
async fn what_it_prints_is_there_when_it_has_answered() {
    let function = Function::new(setting());
    for n in 1..=3 {
        function.invoke(json!({})).await.unwrap();
        let lines = function.json_lines();
        assert_eq!(lines.len(), 2 * n, "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.get("_aws").is_some()).count(), n);
        assert_eq!(function.lines().len(), 1 + 2 * n);
    }
}

#[tokio::test]
async fn it_finds_what_lambda_gives() {
    let folder = tempfile::tempdir().unwrap();
    let function = Function::new(Setting { folder: folder.path().to_owned(), ..with("NODEWEIR_STAGE", "test") });
    let found = function.invoke(json!({"do": "environment"})).await.unwrap();
    for (name, value) in [
        ("NODEWEIR_STAGE", "test"),
        ("AWS_LAMBDA_FUNCTION_NAME", "probe"),
        ("AWS_ACCESS_KEY_ID", "probe"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
    assert_eq!(found["LAMBDA_TASK_ROOT"], folder.path().to_str().unwrap());
    assert_eq!(found["cwd"], folder.path().canonicalize().unwrap().to_str().unwrap());
    assert!(found.get("CARGO_MANIFEST_DIR").is_none(), "nothing of the test's own environment");

    let headers = function.invoke(json!({"do": "headers"})).await.unwrap();
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:probe";
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], arn);
    assert!(headers["lambda-runtime-trace-id"].as_str().unwrap().starts_with("Root="));
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].as_str().unwrap().parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!((now..now + 60_001).contains(&deadline), "{deadline} is within the timeout from {now}");
}

#[tokio::test]
async fn its_errors_are_told_as_it_told_them() {
    let function = Function::new(setting());
    let pid = function.invoke(json!({})).await.unwrap()["pid"].clone();
    let error = function.invoke(json!({"do": "fail"})).await.unwrap_err();
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("StoreError", "throttled"));
    assert_eq!(error.body["stackTrace"], json!([]));
    assert_eq!(function.invoke(json!({})).await.unwrap()["pid"], pid, "an error ends no process");
}

#[tokio::test]
async fn what_ends_is_started_anew() {
    let function = Function::new(setting());
    let error = function.invoke(json!({"do": "exit"})).await.unwrap_err();
    assert_eq!(error, FunctionError::new("Runtime.ExitError", "Runtime exited: exit status: 3"));
    // One that answers before it ends has answered.
    function.invoke(json!({"do": "leave"})).await.unwrap();
    function.invoke(json!({})).await.unwrap();
    assert_eq!(function.starts().len(), 3);
}

#[tokio::test]
async fn it_can_be_killed_in_the_middle() {
    let function = Function::new(setting());
    function.start().await.unwrap();
    let invoked = tokio::spawn({
        let function = function.clone();
        async move { function.invoke(json!({"do": "sleep"})).await }
    });
    until(|| is_busy(&function)).await;
    function.kill();
    let error = invoked.await.unwrap().unwrap_err();
    assert_eq!((error.kind.as_str(), error.message.contains("signal: 9")), ("Runtime.ExitError", true), "{error:?}");
    function.invoke(json!({})).await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let function = Function::new(Setting { timeout: Duration::from_millis(300), ..setting() });
    function.start().await.unwrap();
    let pid = Value::from(function.pid());
    let error = function.invoke(json!({"do": "sleep"})).await.unwrap_err();
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("Sandbox.Timedout", "Task timed out after 0.30 seconds")
    );
    assert!(!runs(&pid));
}

#[tokio::test]
async fn one_that_cannot_start_says_why() {
    let told = Function::new(with("INIT", "error")).start().await.unwrap_err();
    assert_eq!((told.kind.as_str(), told.message.as_str()), ("Config.Missing", "no config.yml"));
    let silent = Function::new(with("INIT", "exit")).invoke(json!({})).await.unwrap_err();
    assert_eq!(silent.kind, "Runtime.ExitError");
    let setting = Setting { init_timeout: Duration::from_millis(300), ..with("INIT", "sleep") };
    assert_eq!(Function::new(setting).start().await.unwrap_err().kind, "Sandbox.Timedout");
}

/// A test that is killed runs no `Drop`.
#[tokio::test]
async fn it_does_not_outlive_a_killed_test() {
    const ROLE: &str = "NODEWEIR_TEST_WILL_BE_KILLED";
    if std::env::var_os(ROLE).is_some() {
        let function = Function::new(setting());
        let asleep = function.invoke(json!({"do": "sleep"}));
        let _ = tokio::join!(asleep, async {
            until(|| is_busy(&function)).await;
            println!("pid {}", function.pid().unwrap());
        });
        return;
    }
    // Nor does it remove its folders.
    let folder = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "function::it_does_not_outlive_a_killed_test", "--nocapture"])
        .envs([(ROLE, std::ffi::OsStr::new("1")), ("TMPDIR", folder.path().as_os_str())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(test.stdout.take().unwrap()).lines();
    let pid = said.map_while(Result::ok).find_map(|line| line.strip_prefix("pid ").map(str::to_owned));
    test.kill().unwrap();
    test.wait().unwrap();
    let pid = pid.expect("the function's process");
    // A zombie is gone, but for whoever is to collect it.
    let stat = format!("/proc/{pid}/stat");
    until(|| fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
}

/// 0.1 s of the processor are at least 0.5 s on the clock for a function of 128 MB, which gets 7 %.
#[tokio::test]
async fn a_starved_function_is_slow() {
    let quota = match Quota::of_memory(128) {
        Ok(quota) => quota,
        Err(reason) => {
            eprintln!("not tested: {reason}");
            return;
        }
    };
    let function = Function::new(Setting { quota: Some(quota), init_timeout: Duration::from_secs(60), ..setting() });
    function.start().await.unwrap();
    let begun = Instant::now();
    function.invoke(json!({"do": "spin"})).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    drop(function);
    let groups = fs::read_dir("/sys/fs/cgroup/cpu").or_else(|_| fs::read_dir("/sys/fs/cgroup")).unwrap();
    let ours = format!("nodeweir-{}-", std::process::id());
    assert!(!groups.flatten().any(|group| group.file_name().to_string_lossy().starts_with(&ours)), "a group is left");
}
