//! The image itself, built from its Dockerfile by buildah and run in namespaces of its own: there is no Docker here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nodes::Anvil;
use crate::rig::{PROGRAM, Rig};

/// Names the plain Debian that `scripts/test` prepares where it can.
const BASE: &str = "NODEWEIR_IMAGE_BASE";
/// What the Dockerfile calls it.
const DEBIAN: &str = "docker.io/library/debian:forky-slim";

struct Image {
    store: TempDir,
    /// Its file system, put together.
    root: PathBuf,
    /// Its configuration, as engines read it.
    config: Value,
}

impl Image {
    fn build(base: &OsStr) -> Self {
        let mut image = Self { store: tempfile::tempdir().unwrap(), root: PathBuf::new(), config: Value::Null };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let context = image.store.path().join("context");
        let prebuilt = context.join("docker/prebuilt");
        std::fs::create_dir_all(&prebuilt).unwrap();
        std::fs::copy(repository.join("docker/Dockerfile"), context.join("docker/Dockerfile")).unwrap();
        let stripped = Command::new("strip").arg("-o").arg(prebuilt.join("nodeweir-proxy")).arg(PROGRAM).status();
        assert!(stripped.unwrap().success());

        let container = image.buildah(&["from", "scratch"]);
        image.buildah(&["add", "--quiet", &container, base.to_str().unwrap(), "/"]);
        // The registry of a machine without internet may stand still for longer than its signature is said to hold.
        let apt = image.store.path().join("99-still");
        std::fs::write(&apt, "Acquire::Check-Valid-Until \"false\";\n").unwrap();
        image.buildah(&["add", "--quiet", &container, apt.to_str().unwrap(), "/etc/apt/apt.conf.d/"]);
        image.buildah(&["commit", "--quiet", &container, DEBIAN]);
        let file = context.join("docker/Dockerfile");
        let [file, context] = [&file, &context].map(|path| path.to_str().unwrap());
        let build = ["bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--layers=false"];
        let arguments = ["--build-arg", "BINARY=prebuilt", "--build-arg", "VERSION=1.2.3", "--tag", "nodeweir-proxy"];
        image.buildah(&[&build[..], &arguments, &["--file", file, context]].concat());
        let container = image.buildah(&["from", "--pull-never", "localhost/nodeweir-proxy"]);
        image.root = image.buildah(&["mount", &container]).into();
        let told = image.buildah(&["inspect", "--type", "image", "localhost/nodeweir-proxy"]);
        image.config = serde_json::from_str::<Value>(&told).unwrap()["Docker"]["config"].take();
        image
    }

    fn says_what_engines_ask(&self) {
        let config = &self.config;
        assert_eq!(config["User"], "nodeweir");
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/nodeweir-proxy"]));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/local/bin/nodeweir-proxy", "ready"]));
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], "1.2.3");
        let volumes: Vec<_> = config["Volumes"].as_object().unwrap().keys().collect();
        assert_eq!(volumes, ["/tmp", "/var/lib/nodeweir"]);
    }

    /// What it printed.
    fn buildah(&self, words: &[&str]) -> String {
        let [root, run] = ["root", "run"].map(|name| self.store.path().join(name));
        let mut command = Command::new("buildah");
        command.arg("--root").arg(root).arg("--runroot").arg(run).args(["--storage-driver", "vfs"]).args(words);
        let done = command.output().unwrap();
        assert!(done.status.success(), "buildah {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// Runs the program as an engine does: first process of its own namespace, root file system read-only but for the
/// volumes, without root.
const RUN: &str = r#"
set -e
mount --bind "$0" "$0"
for kind in dev sys etc/resolv.conf; do mount --rbind "/$kind" "$0/$kind"; done
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
mount -t tmpfs -o mode=700,uid=10001,gid=10001 tmpfs "$0/var/lib/nodeweir"
mount -o remount,ro,bind "$0"
unset NODEWEIR_PROXY_ROOT
export HOME=/
exec chroot --userspec=10001:10001 "$0" /usr/local/bin/nodeweir-proxy
"#;

/// One test, because an image takes its time and its place.
#[tokio::test]
async fn the_image_serves_what_is_published_with_nothing_but_its_volumes_to_write_to() {
    let Some(base) = std::env::var_os(BASE) else {
        return println!("skipped: {BASE} names no base to build the image on; scripts/test prepares one where it can");
    };
    let image = Image::build(&base);
    image.says_what_engines_ask();
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    rig.state = "/var/lib/nodeweir".into();
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let unshare = ["/usr/bin/unshare", "--pid", "--mount", "--fork", "--kill-child", "/bin/sh", "-c", RUN];
    let mut container = rig.start_by(&[&unshare[..], &[image.root.to_str().unwrap()]].concat());
    container.serves("one").await;
    assert_eq!(container.ready().await, Some(200));
    rig.publish(&rig.revision(2, "leader", leader.port).compose()).await;
    container.serves("leader").await;
    container.stop_first_process().await;
    assert_eq!(container.ends().await, 0, "{}", container.said());
    assert_eq!(container.ready().await, None);
    assert!(!container.said().contains("Read-only file system"), "{}", container.said());
}
