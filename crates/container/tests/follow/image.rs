//! The image itself, built from its Dockerfile by buildah and run in namespaces of its own: there is no Docker here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::nodes::Anvil;
use crate::process::{Owned, free_port, until};
use crate::rig::{PROGRAM, Rig};

/// Names the plain Debian that `scripts/test` prepares where it can.
const BASE: &str = "NODEWEIR_IMAGE_BASE";
/// What the Dockerfile calls it.
const DEBIAN: &str = "docker.io/library/debian:forky-slim";

const VERSION: &str = env!("CARGO_PKG_VERSION");

struct Image {
    store: TempDir,
    /// Its file system, put together.
    root: PathBuf,
    /// Its configuration, as engines read it.
    config: Value,
}

impl Image {
    /// Builds it by the script that people use, which also puts it into a registry.
    fn build(base: &OsStr, registry: u16) -> Self {
        let image = Self { store: tempfile::tempdir().unwrap(), root: PathBuf::new(), config: Value::Null };
        let place = image.store.path();
        let file = |name: &str, text: &str| std::fs::write(place.join(name), text).unwrap();
        let at = |name: &str| place.join(name).display().to_string();
        file(
            "storage.conf",
            &format!("[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n", at("root"), at("run")),
        );
        file("registries.conf", &format!("[[registry]]\nlocation = \"localhost:{registry}\"\ninsecure = true\n"));
        // The registry of a machine without internet may stand still for longer than its signature is said to hold.
        file("99-still", "Acquire::Check-Valid-Until \"false\";\n");
        let container = image.buildah(&["from", "scratch"]);
        image.buildah(&["add", "--quiet", &container, base.to_str().unwrap(), "/"]);
        image.buildah(&["add", "--quiet", &container, &at("99-still"), "/etc/apt/apt.conf.d/"]);
        image.buildah(&["commit", "--quiet", &container, DEBIAN]);

        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let copy = place.join("repository");
        std::fs::create_dir_all(copy.join("docker")).unwrap();
        for file in ["Cargo.toml", "docker/Dockerfile", "docker/build_and_upload.sh"] {
            std::fs::copy(repository.join(file), copy.join(file)).unwrap();
        }
        image.run("git", &["init", "--quiet", copy.to_str().unwrap()]);
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let commit = ["commit", "--quiet", "--allow-empty", "--message", "a"];
        image.run("git", &[&["-C", copy.to_str().unwrap()][..], &author, &commit].concat());
        image.run("strip", &["-o", &at("nodeweir-proxy"), PROGRAM]);
        let script = copy.join("docker/build_and_upload.sh");
        let registry = format!("localhost:{registry}");
        let words = ["--prebuilt", &at("nodeweir-proxy"), "--registry", &registry];
        let name = image.run(script.to_str().unwrap(), &words);
        assert!(name.starts_with(&format!("{registry}/jsonrpc-proxy:{VERSION}-")), "{name}");
        // Its own copy is gone: what runs is what the registry has.
        image.buildah(&["rmi", "--force", &name]);
        let container = image.buildah(&["from", &name]);
        let told = image.buildah(&["inspect", "--type", "image", &name]);
        let root = image.buildah(&["mount", &container]).into();
        let config = serde_json::from_str::<Value>(&told).unwrap()["Docker"]["config"].take();
        Self { root, config, ..image }
    }

    fn says_what_engines_ask(&self) {
        let config = &self.config;
        assert_eq!(config["User"], "nodeweir");
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/nodeweir-proxy"]));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/local/bin/nodeweir-proxy", "ready"]));
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], VERSION);
        let volumes: Vec<_> = config["Volumes"].as_object().unwrap().keys().collect();
        assert_eq!(volumes, ["/tmp", "/var/lib/nodeweir"]);
    }

    fn buildah(&self, words: &[&str]) -> String {
        self.run("buildah", words)
    }

    /// What a program printed, which finds images in this place alone.
    fn run(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(words).env("BUILDAH_ISOLATION", "chroot");
        for (variable, file) in [("STORAGE", "storage.conf"), ("REGISTRIES", "registries.conf")] {
            command.env(format!("CONTAINERS_{variable}_CONF"), self.store.path().join(file));
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// Debian's registry, on a port of its own.
fn start_registry(place: &Path, port: u16) -> Owned {
    let config = json!({
        "version": 0.1,
        "log": {"accesslog": {"disabled": true}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": place}},
        "http": {"addr": format!("localhost:{port}")},
    });
    let file = place.join("config.yml");
    // JSON is YAML.
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new("docker-registry");
    Owned(command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
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
    let (place, port) = (tempfile::tempdir().unwrap(), free_port());
    let _registry = start_registry(place.path(), port);
    until("the registry answers", async || TcpStream::connect(("localhost", port)).await.ok()).await;
    let image = Image::build(&base, port);
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
