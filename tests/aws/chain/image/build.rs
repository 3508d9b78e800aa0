//! The image, built from its Dockerfile by the script that people use. There is no Docker here, so it is built by buildah.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nodeweir_emulator::{Moto, Proxy as Aws};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::registry::Registry;
use crate::process::sibling;
use crate::template::repository;

/// Names the plain Debian that `scripts/test` prepares where it can.
const BASE: &str = "NODEWEIR_IMAGE_BASE";
/// Where `scripts/test` installs the AWS CLI.
const TOOLS: &str = "NODEWEIR_AWS_TOOLS";
/// Where nobody listens.
pub(super) const NOWHERE: &str = "http://127.0.0.1:1";

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = "/usr/local/bin/nodeweir-proxy";

/// What the configuration calls this machine's processor.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The base to build on; none, and the reason printed, where nobody prepared one.
fn base() -> Option<OsString> {
    let base = std::env::var_os(BASE);
    if base.is_none() {
        println!("skipped: {BASE} names no base to build the image on; scripts/test prepares one where it can");
    }
    base
}

/// Whether there is an engine, which is prepared together with a base.
pub(super) fn has_engine() -> bool {
    base().is_some()
}

/// What the Dockerfile calls it.
fn debian() -> String {
    let file = fs::read_to_string(repository().join("docker/Dockerfile")).unwrap();
    file.lines().find_map(|line| line.strip_prefix("ARG DEBIAN=")).expect("it names its base").to_owned()
}

/// A folder with what the script needs of the repository, and the script in it.
pub(super) fn checkout(place: &Path) -> PathBuf {
    let copy = place.join("repository");
    fs::create_dir_all(copy.join("docker")).unwrap();
    // The workspace's members too, which `docker/sbom.sh` asks cargo about.
    let workspace =
        ["Cargo.toml", "Cargo.lock", "bench", "crates", "lambdas", "tests/emulator", "tests/e2e", "tests/aws/chain"];
    let docker = ["docker/Dockerfile", "docker/build_and_upload.sh", "docker/sbom.sh"];
    let mut copies = std::process::Command::new("cp");
    copies.args(["-r", "--parents"]).args(workspace).args(docker).arg(&copy).current_dir(repository());
    assert!(copies.status().unwrap().success());
    let git = |words: &[&str]| {
        let done = std::process::Command::new("git").arg("-C").arg(&copy).args(words).output().unwrap();
        assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    git(&[&author[..], &["commit", "--quiet", "--message", "a"]].concat());
    copy.join("docker/build_and_upload.sh")
}

/// A program of the tools that `scripts/test` installs.
pub(super) fn tool(name: &str) -> PathBuf {
    tools().join(name)
}

fn tools() -> PathBuf {
    std::env::var_os(TOOLS).map_or_else(|| repository().join("tests/aws/.venv"), PathBuf::from).join("bin")
}

/// A command that finds the AWS CLI and the emulated account, keeps logins in `place`, and reaches nothing else: what asks
/// for another host asks `proxy` for it.
pub(super) fn command(program: impl AsRef<OsStr>, place: &Path, aws: &Aws, proxy: &str) -> Command {
    let tools = tools();
    assert!(
        tools.join("aws").is_file(),
        "these tests need the AWS CLI: there is none in {}. Run scripts/test, which installs it",
        tools.display()
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: OsString = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new(program);
    command
        .env("PATH", path)
        .env("AWS_ENDPOINT_URL", aws.url())
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "developer")
        .env("AWS_SECRET_ACCESS_KEY", "nothing")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_DEFAULT_REGION")
        .env("AWS_CONFIG_FILE", place.join("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", place.join("none"))
        .env("REGISTRY_AUTH_FILE", place.join("logins.json"))
        // In capitals, which apt in the image does not look at.
        .env("HTTPS_PROXY", proxy)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null());
    command
}

/// Storage with a plain Debian in it, and a registry that is its account's ECR.
pub(super) struct Workshop {
    place: TempDir,
    pub(super) aws: Aws,
    pub(super) registry: Registry,
}

impl Workshop {
    /// None where nobody prepared a base.
    pub(super) async fn open() -> Option<Self> {
        let base = base()?;
        let (place, aws) = (tempfile::tempdir().unwrap(), Aws::start(Moto::shared()));
        let registry = Registry::start(place.path(), aws.account()).await;
        let workshop = Self { place, aws, registry };
        // Nothing of the machine's.
        workshop.file("registries.conf", "");
        workshop.file("logins.json", "{}");
        let [root, run] = ["root", "run"].map(|name| workshop.place.path().join(name).display().to_string());
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {root:?}\nrunroot = {run:?}\n");
        workshop.file("storage.conf", &storage);
        let program = sibling(env!("CARGO_BIN_EXE_probe"), "nodeweir-proxy");
        workshop.run("strip", &["-o", workshop.program().to_str().unwrap(), program.to_str().unwrap()]).await;
        // Debian's mirror of a machine without internet may stand still for longer than its signature is said to hold.
        let still = workshop.file("99-still", "Acquire::Check-Valid-Until \"false\";\n");
        let container = workshop.buildah(&["from", "scratch"]).await;
        workshop.buildah(&["add", "--quiet", &container, base.to_str().unwrap(), "/"]).await;
        workshop.buildah(&["add", "--quiet", &container, still.to_str().unwrap(), "/etc/apt/apt.conf.d/"]).await;
        // What slim images of Debian leave out; every image and container here is a copy of all files.
        let root = PathBuf::from(workshop.buildah(&["mount", &container]).await);
        for folder in ["doc", "info", "lintian", "locale", "man"] {
            fs::remove_dir_all(root.join("usr/share").join(folder)).unwrap();
        }
        workshop.buildah(&["commit", "--quiet", "--rm", &container, &debian()]).await;
        Some(workshop)
    }

    /// Runs the script; the image's name.
    pub(super) async fn upload(&self, words: &[&str]) -> String {
        // Each has its own, because the script puts the program there.
        let place = tempfile::tempdir_in(&self.place).unwrap();
        let program = self.program();
        let always = ["--engine", "buildah", "--prebuilt", program.to_str().unwrap()];
        let name = self.run(checkout(place.path()), &[&always, words].concat()).await;
        assert!(name.contains(&format!("/jsonrpc-proxy:{VERSION}-")), "{name}");
        name
    }

    /// Where a file of this name would be.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// From now on the registry alone has it.
    pub(super) async fn forget(&self, name: &str) {
        self.buildah(&["rmi", "--force", name]).await;
    }

    /// The image, from the registry if it is not here.
    pub(super) async fn image(&self, name: &str) -> Image {
        let container = self.buildah(&["from", name]).await;
        let told = self.buildah(&["inspect", "--type", "image", name]).await;
        let root = self.buildah(&["mount", &container]).await.into();
        let config = serde_json::from_str::<Value>(&told).unwrap()["Docker"]["config"].take();
        Image { root, config }
    }

    /// The program without what debuggers need.
    fn program(&self) -> PathBuf {
        self.place.path().join("nodeweir-proxy")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.place.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    async fn buildah(&self, words: &[&str]) -> String {
        self.run("buildah", words).await
    }

    /// What a program printed, which finds images in this place alone.
    async fn run(&self, program: impl AsRef<OsStr>, words: &[&str]) -> String {
        let mut command = command(program, self.place.path(), &self.aws, &self.registry.proxy);
        command.args(words).env("BUILDAH_ISOLATION", "chroot").env("SSL_CERT_FILE", &self.registry.certificate);
        command.env("TMPDIR", self.place.path());
        for (variable, file) in [("STORAGE", "storage.conf"), ("REGISTRIES", "registries.conf")] {
            command.env(format!("CONTAINERS_{variable}_CONF"), self.place.path().join(file));
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let group = Group(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap());
        let done = child.wait_with_output().await.unwrap();
        std::mem::forget(group);
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// A program with all that it started, which end if the test ends first.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // They may have ended by themselves.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// An image, put together.
pub(super) struct Image {
    pub(super) root: PathBuf,
    /// As engines read it.
    config: Value,
}

impl Image {
    pub(super) fn says_what_engines_ask(&self) {
        let config = &self.config;
        assert_eq!(config["User"], "nodeweir");
        assert_eq!(self.user(), "10001:10001");
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["Entrypoint"], json!([PROGRAM]));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", PROGRAM, "ready"]));
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], VERSION);
        assert_eq!(self.volumes(), ["/tmp", "/var/lib/nodeweir"]);
    }

    /// What runs in it.
    pub(super) fn entrypoint(&self) -> &str {
        self.config["Entrypoint"][0].as_str().unwrap()
    }

    /// Where it may be written to.
    pub(super) fn volumes(&self) -> Vec<String> {
        self.config["Volumes"].as_object().unwrap().keys().cloned().collect()
    }

    /// The numbers of its user and group.
    pub(super) fn user(&self) -> String {
        let name = self.config["User"].as_str().unwrap();
        let users = fs::read_to_string(self.root.join("etc/passwd")).unwrap();
        let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user[0] == name).unwrap();
        format!("{}:{}", user[2], user[3])
    }
}
