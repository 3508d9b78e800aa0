//! What every command starts from: the configuration, its folder, the store.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nodeweir_control::edges::EdgeError;
use nodeweir_control::folder::FolderObject;
use nodeweir_domain::config::Config;
use nodeweir_domain::name::{NetworkId, StageName};
use nodeweir_store::sqlite::{Runtime, SqliteStore};
use rustix::fs::{FlockOperation, flock};

/// Where commands look for a configuration when none is named.
const DEFAULT: &str = "config.local.yml";
/// The folder of `up --demo`.
pub(crate) const DEMO: &str = ".nodeweir-demo";

/// The person has to call it otherwise; exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A configuration and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) file: PathBuf,
    /// The state's folder.
    pub(crate) state: PathBuf,
    /// Where the demo's own project calls, key and all.
    pub(crate) demo_address: Option<String>,
}

impl Context {
    /// Reads the configuration: the named file, else `config.local.yml`, else the demo's. Of a stage: the named file,
    /// else `config.STAGE.yml`.
    pub(crate) fn load(named: Option<&Path>, stage: Option<&StageName>) -> Result<Self> {
        let file = match (named, stage) {
            (Some(file), _) => file.to_owned(),
            (None, Some(stage)) => file_of(stage)?,
            (None, None) => file_here()?,
        };
        let text =
            fs::read_to_string(&file).map_err(|error| Usage(format!("cannot read {}: {error}", file.display())))?;
        let config = Config::read(&text).with_context(|| format!("{} has faults", file.display()))?;
        if let (Some(stage), None) = (stage, &config.aws) {
            let hint = format!(
                "{} has no section `aws`, so that it is not a stage's: write that section as in config.sample.yml, or \
                 name the file of stage {stage} with --config",
                file.display()
            );
            return Err(Usage(hint).into());
        }
        let beside = file.parent().unwrap_or(Path::new(""));
        let state = beside.join(&config.state);
        Ok(Self { config, file, state, demo_address: None })
    }

    /// Makes the state's folder. Others may pass through to the proxy's sockets, but not look around.
    pub(crate) fn make_state(&self) -> Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        if !self.state.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(self.state.parent().unwrap_or(Path::new(".")))
                .and_then(|()| match fs::create_dir(&self.state) {
                    // Another process made it at this moment, and sees to its mode.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.state.is_dir() => Ok(()),
                    made => made.and_then(|()| fs::set_permissions(&self.state, fs::Permissions::from_mode(0o711))),
                })
                .with_context(|| format!("cannot make the state's folder {}", self.state.display()))?;
        }
        Ok(())
    }

    /// Opens the store, making it where there is none.
    pub(crate) fn store(&self) -> Result<SqliteStore> {
        self.make_state()?;
        Ok(SqliteStore::open(&self.state.join("state.db"))?)
    }

    /// The published object.
    pub(crate) fn published(&self) -> Result<FolderObject, EdgeError> {
        FolderObject::open(&self.state.join("published"))
    }

    /// Takes the lock that only one `up` may hold on a state's folder; `None` if another has it.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let file = self.state.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
        let mut lock = lock.with_context(|| format!("cannot open {}", file.display()))?;
        // Who asks `is_up` holds it for a moment, too, and is no other `up`.
        let mut tries = 20;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error).with_context(|| format!("cannot lock {}", file.display())),
            }
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Some(lock))
    }

    /// What the running `up` says of itself, if one runs; what an earlier one said is no news while a new one starts.
    pub(crate) async fn runtime(&self, store: &SqliteStore) -> Result<Option<Runtime>> {
        // Asked first: who starts after this is not taken for who ran before.
        if !self.is_up() {
            return Ok(None);
        }
        let holder = fs::read_to_string(self.state.join("lock")).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
        // Until the new one has written down its process, the last one's stands there.
        let holder = holder.filter(|pid| Path::new("/proc").join(pid.to_string()).exists());
        Ok(store.runtime().await?.filter(|runtime| holder == Some(runtime.pid)))
    }

    /// Whether an `up` runs on this state now.
    pub(crate) fn is_up(&self) -> bool {
        let Ok(lock) = File::open(self.state.join("lock")) else { return false };
        // A shared lock, so that two who ask at once do not take each other for it.
        matches!(flock(&lock, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// The addresses to call, the default network first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses_of(|_| true)
    }

    /// Those of the networks that are `wanted`.
    pub(crate) fn addresses_of(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        self.addresses_at(&self.base(), wanted)
    }

    /// Those under the load balancer of a stage.
    pub(crate) fn stage_addresses(&self) -> Vec<String> {
        self.stage_addresses_of(|_| true)
    }

    /// The same of the networks that are `wanted`.
    pub(crate) fn stage_addresses_of(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        let host = self.config.aws.as_ref().map(|aws| format!("https://{}", aws.host));
        host.map_or_else(Vec::new, |base| self.addresses_at(&base, wanted))
    }

    fn base(&self) -> String {
        let listen = self.config.proxy.listen;
        // What listens on every address is called on this machine's own.
        let host = match listen.ip() {
            ip if !ip.is_unspecified() => listen.to_string(),
            ip if ip.is_ipv4() => format!("127.0.0.1:{}", listen.port()),
            _ => format!("[::1]:{}", listen.port()),
        };
        format!("http://{host}")
    }

    fn addresses_at(&self, base: &str, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        let mut networks: Vec<_> = self.config.networks.keys().filter(|id| wanted(id)).collect();
        networks.sort_by_key(|id| **id != self.config.default_network);
        networks.into_iter().map(|id| format!("{base}/{id}/v3")).collect()
    }
}

/// The file of this machine's fleet.
fn file_here() -> Result<PathBuf, Usage> {
    let demo = Path::new(DEMO).join("config.yml");
    if Path::new(DEFAULT).exists() {
        return Ok(DEFAULT.into());
    }
    if demo.exists() {
        return Ok(demo);
    }
    Err(Usage(format!(
        "no configuration: there is no {DEFAULT} here. Copy config.sample.yml to {DEFAULT} and edit it, name a file with --config, or try `nodeweir up --demo`"
    )))
}

/// The file of a stage.
fn file_of(stage: &StageName) -> Result<PathBuf, Usage> {
    let file = PathBuf::from(format!("config.{stage}.yml"));
    if file.exists() {
        return Ok(file);
    }
    let file = file.display();
    Err(Usage(format!(
        "no configuration of stage {stage}: there is no {file} here. Go to the folder that it was deployed from, name the \
         file with --config, or copy config.sample.yml to {file} and edit it"
    )))
}

/// Who edits, for the history.
pub(crate) fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn of_several_who_make_the_state_at_once_all_have_it() {
        let text = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}";
        let config = Config::read(text).unwrap();
        for _ in 0..50 {
            let place = tempfile::tempdir().unwrap();
            let (file, state) = (place.path().join("config.yml"), place.path().join("a/b"));
            let context = Context { config: config.clone(), file, state, demo_address: None };
            let together = Barrier::new(4);
            std::thread::scope(|scope| {
                let make = || {
                    together.wait();
                    context.make_state()
                };
                for made in [(); 4].map(|()| scope.spawn(make)) {
                    made.join().unwrap().unwrap();
                }
            });
            assert_eq!(fs::metadata(&context.state).unwrap().permissions().mode() & 0o777, 0o711);
        }
    }
}
