//! An image in namespaces of its own, as an engine runs it.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::build::Image;
use crate::client::Connection;
use crate::process::{Owned, send, until, until_or};

/// What an engine is told beside the image.
pub(super) struct Run {
    /// All of it.
    pub(super) environment: Vec<(String, String)>,
    /// Where it has empty folders to write to. All else is read-only.
    pub(super) volumes: Vec<String>,
    /// How many files it may have open, if this machine allows as many.
    pub(super) open_files: u64,
}

/// Its words: the root, `uid:gid`, how many files may be open, the volumes, `--`, and what runs. A volume belongs to whom
/// the image says, as engines have it that fill a new volume from the image.
const RUN: &str = r#"
set -e
user=$1 files=$2
shift 2
mount --bind "$0" "$0"
for kind in dev sys etc/resolv.conf; do mount --rbind "/$kind" "$0/$kind"; done
mount -t proc proc "$0/proc"
while [ "$1" != -- ]; do
  mount -t tmpfs -o "$(stat -c mode=%a,uid=%u,gid=%g "$0$1")" tmpfs "$0$1"
  shift
done
shift
mount -o remount,ro,bind "$0"
ulimit -n "$files" 2>/dev/null || ulimit -n "$(ulimit -H -n)"
exec chroot --userspec="$user" "$0" "$@"
"#;

/// A container, which ends with the test.
pub(super) struct Container {
    outer: Owned,
    port: u16,
    user: String,
    entrypoint: String,
    environment: Vec<(String, String)>,
    /// Holds what it says.
    place: TempDir,
}

impl Container {
    /// Starts it. Clients find it at `port`: it has the machine's network.
    pub(super) fn start(image: &Image, port: u16, run: Run) -> Self {
        let Run { mut environment, volumes, open_files } = run;
        // What engines add where the image has none.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        environment.extend([("PATH", path), ("HOME", "/")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let place = tempfile::tempdir().unwrap();
        let [output, errors] = ["output", "errors"].map(|name| File::create(place.path().join(name)).unwrap());
        let (user, entrypoint) = (image.user(), image.entrypoint().to_owned());
        let child = std::process::Command::new("/usr/bin/unshare")
            .args(["--pid", "--mount", "--fork", "--kill-child", "/bin/sh", "-c", RUN])
            .arg(&image.root)
            .args([&user, &open_files.to_string()])
            .args(volumes)
            .args(["--", &entrypoint])
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap();
        Self { outer: Owned(child), port, user, entrypoint, environment, place }
    }

    /// The first process of its namespace, by the number that the machine knows it by.
    fn first(&self) -> Option<i32> {
        let pid = self.outer.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_ascii_whitespace().next()?.parse().ok()
    }

    /// All that it has said.
    pub(super) fn said(&self) -> String {
        let [output, errors] = ["output", "errors"].map(|name| fs::read_to_string(self.file(name)).unwrap());
        output + &errors
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The lines of its standard output, which all are JSON.
    pub(super) fn json_lines(&self) -> Vec<Value> {
        let output = fs::read_to_string(self.file("output")).unwrap();
        output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    pub(super) async fn says(&self, words: &str) {
        let look = async || self.said().contains(words).then_some(());
        until_or(look, || format!("it does not say {words:?} but: {}", self.said())).await;
    }

    /// Waits until it runs this revision.
    pub(super) async fn runs(&self, revision: &str) {
        self.says(&format!(r#""message":"runs","revision":"{revision}""#)).await;
    }

    /// Waits until this node answers clients that call this path.
    pub(super) async fn serves(&self, path: &str, name: &str) {
        let look = async || {
            let answer = Connection::call(self.port, path, "eth_blockNumber").await.ok()?;
            (answer.result().is_some() && answer.endpoint() == name).then_some(())
        };
        until_or(look, || format!("{name} does not serve; it says: {}", self.said())).await;
    }

    /// What the image's health check finds, run where the container is.
    pub(super) async fn is_ready(&self) -> bool {
        let Some(first) = self.first() else { return false };
        let (user, group) = self.user.split_once(':').unwrap();
        let done = Command::new("/usr/bin/nsenter")
            .args(["--target", &first.to_string(), "--pid", "--mount", "--root", "--wd"])
            .args(["--setuid", user, "--setgid", group, &self.entrypoint, "ready"])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output();
        done.await.unwrap().status.success()
    }

    /// Tells its first process to stop, as engines do, and waits for its exit code.
    pub(super) async fn stop(&mut self) -> i32 {
        let first = self.first().unwrap_or_else(|| panic!("it has ended: {}", self.said()));
        send(first, Signal::TERM);
        let status = until("it ends", async || self.outer.0.try_wait().unwrap()).await;
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With it end all others of the namespace. It does not end with `unshare`, because it has changed its user since.
        if let Some(first) = self.first() {
            send(first, Signal::KILL);
        }
    }
}
