//! The folder that a proxy runs in, file by file.
//!
//! | name | what | read by |
//! |---|---|---|
//! | `nginx.conf`, `haproxy.cfg` | the live revision with secrets, mode 0600; `.new` is checked, `.old` is restored | master |
//! | `host-*.conf`, `host.cfg` | what this machine adds | master |
//! | `ca.pem` | link to the machine's certificates | master |
//! | `haproxy-run` | runs a HAProxy of the prepared root | master |
//! | `sock/` | unix sockets, `admin.sock` among them; mode 0700, of the workers' account | workers, supervisor |
//! | `sock/gate.sock` | made by the gate's process, and left to it | workers |
//! | `tmp/` | temporary files of nginx | workers |
//! | `usage/` | what was used, see [`super::usage`]; often a link into memory | the gate's process |
//! | `draining` | exists while draining | workers |
//! | `refusing` | exists while the gate is away, so that nobody may pass | workers |
//! | `last-good` | the last revision that ran, without secrets | the next start |
//! | `proxy.pid` | the master that was started last | the next start |
//! | `lock` | held by the supervisor | supervisors |
//!
//! Everything in it is named relative to it: workers run as another user, who may not be able to reach it from the
//! root of the file system, and the path of a unix socket has at most 107 bytes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nodeweir_domain::config::ProxyKind;
use rustix::process::geteuid;

use super::host::{Account, Machine};
use super::process::Record;
use super::program::Program;

/// HAProxy's first configuration file.
pub(super) const HAPROXY_HOST: &str = "host.cfg";
/// How a HAProxy of the prepared root is run.
pub(super) const HAPROXY_SCRIPT: &str = "haproxy-run";
/// Link to the certificates that nodes are verified with.
pub(super) const CA_FILE: &str = "ca.pem";
/// Where a running proxy tells its revision, and HAProxy is told to drain.
pub(super) const ADMIN_SOCKET: &str = "sock/admin.sock";

/// How the names of sockets begin that the gate's process makes: the one nginx asks, and before it has that name.
const GATE_SOCKET: &[u8] = b"gate.sock";
const LAST_GOOD: &str = "last-good";
const PID: &str = "proxy.pid";
const DRAINING: &str = "draining";
const REFUSING: &str = "refusing";

/// A file or folder that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}: {source}", path = path.display())]
pub struct FileError {
    /// What was tried, as a verb.
    pub doing: &'static str,
    /// With what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another supervisor works in it.
    #[error(
        "{folder} is in use by another nodeweir: stop that one first, or give this one another `state` folder",
        folder = .0.display()
    )]
    InUse(PathBuf),
}

/// The folder, locked for this process.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute.
    pub(super) path: PathBuf,
    live: &'static str,
    /// Open, so that sockets in it are reached by a short path.
    handle: File,
    lock: File,
}

impl Drop for Folder {
    /// Closing the file is not enough: a child that this process is just starting holds it open until it runs its
    /// own program, and the lock with it.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Makes and locks it, and removes what an interrupted predecessor left half done.
    pub(super) fn open(path: &Path, kind: ProxyKind) -> Result<Self, FolderError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        // Workers of another account pass through it, but may not look around.
        let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
        fs::create_dir_all(&path).map_err(failed("make", &path))?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed("set the mode of", &path))?;
        let lock = path.join("lock");
        let mut options = OpenOptions::new();
        let lock_file =
            options.create(true).truncate(false).write(true).mode(0o600).open(&lock).map_err(failed("open", &lock))?;
        match lock_file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(path)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock)(error).into()),
        }
        let handle = File::open(&path).map_err(failed("open", &path))?;
        let folder = Self { path, live: kind.file_name(), handle, lock: lock_file };
        for name in ["sock", "tmp"] {
            let path = folder.path.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("make", &path)(error).into());
                }
                _ => fs::set_permissions(&path, Permissions::from_mode(0o700))
                    .map_err(failed("set the mode of", &path))?,
            }
        }
        folder.remove(&folder.candidate())?;
        folder.remove(&folder.previous())?;
        folder.set_refusing(false)?;
        Ok(folder)
    }

    /// The checked file's name.
    pub(super) fn candidate(&self) -> String {
        format!("{}.new", self.live)
    }

    fn previous(&self) -> String {
        format!("{}.old", self.live)
    }

    /// Writes what the machine adds. True if something is other than before.
    pub(super) fn write_host(&self, program: &Program, machine: &Machine) -> Result<bool, FileError> {
        let mut changed = match program.kind {
            ProxyKind::Nginx => {
                let main = self.write_if_other("host-main.conf", machine.nginx_main().as_bytes(), 0o600)?;
                let http = self.write_if_other("host-http.conf", machine.nginx_http().as_bytes(), 0o600)?;
                let lua = &program.lua;
                let lua_main = self.write_if_other("host-lua-main.conf", lua.nginx_main().as_bytes(), 0o600)?;
                let lua_http = self.write_if_other("host-lua-http.conf", lua.nginx_http().as_bytes(), 0o600)?;
                main || http || lua_main || lua_http
            }
            ProxyKind::Haproxy => {
                if let Some(script) = program.script() {
                    self.write_if_other(HAPROXY_SCRIPT, &script, 0o700)?;
                }
                self.write_if_other(HAPROXY_HOST, machine.haproxy().as_bytes(), 0o600)?
            }
        };
        if let Some(Account { uid, gid, .. }) = machine.account {
            for name in ["sock", "tmp"] {
                let path = self.path.join(name);
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(failed("give to the workers", &path))?;
            }
        }
        let link = self.path.join(CA_FILE);
        if fs::read_link(&link).ok() != machine.ca_file {
            self.remove(CA_FILE)?;
            if let Some(target) = &machine.ca_file {
                std::os::unix::fs::symlink(target, &link).map_err(failed("make", &link))?;
            }
            changed = true;
        }
        Ok(changed)
    }

    /// Writes the file that the checker reads.
    pub(super) fn write_candidate(&self, text: &str) -> Result<(), FileError> {
        self.write(&self.candidate(), text.as_bytes(), 0o600)
    }

    /// Whether the live file has exactly this text.
    pub(super) fn live_is(&self, text: &str) -> bool {
        fs::read(self.path.join(self.live)).is_ok_and(|live| live == text.as_bytes())
    }

    /// Makes the candidate live; the file that was live is kept for [`Self::swap_back`].
    pub(super) fn swap(&self) -> Result<(), FileError> {
        let (live, previous) = (self.path.join(self.live), self.path.join(self.previous()));
        self.remove(&self.previous())?;
        match fs::hard_link(&live, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("keep", &live)(error)),
            _ => {}
        }
        fs::rename(self.path.join(self.candidate()), &live).map_err(failed("replace", &live))
    }

    /// Makes live again what was live before [`Self::swap`], or nothing if there was nothing.
    pub(super) fn swap_back(&self) -> Result<(), FileError> {
        let live = self.path.join(self.live);
        match fs::rename(self.path.join(self.previous()), &live) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.remove(self.live),
            other => other.map_err(failed("restore", &live)),
        }
    }

    /// Removes a candidate that was not accepted.
    pub(super) fn forget_candidate(&self) -> Result<(), FileError> {
        self.remove(&self.candidate())
    }

    /// Ends the possibility of [`Self::swap_back`].
    pub(super) fn forget_previous(&self) -> Result<(), FileError> {
        self.remove(&self.previous())
    }

    /// Removes every file that holds secrets.
    pub(super) fn forget_secrets(&self) -> Result<(), FileError> {
        self.remove(&self.candidate())?;
        self.remove(&self.previous())?;
        self.remove(self.live)
    }

    pub(super) fn set_draining(&self, draining: bool) -> Result<(), FileError> {
        self.flag(DRAINING, draining)
    }

    pub(super) fn set_refusing(&self, refusing: bool) -> Result<(), FileError> {
        self.flag(REFUSING, refusing)
    }

    fn flag(&self, name: &str, is_there: bool) -> Result<(), FileError> {
        if is_there { self.write(name, b"", 0o644) } else { self.remove(name) }
    }

    /// Removes the sockets that a proxy left. nginx does not start while one with its name exists. The gate's is not
    /// the proxy's.
    pub(super) fn remove_sockets(&self) -> Result<(), FileError> {
        for path in self.sockets() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether somebody listens on a socket of this folder.
    pub(super) fn is_listened_to(&self) -> bool {
        self.sockets().iter().filter_map(|path| path.file_name()).any(|name| {
            let short = self.short("sock").join(name);
            std::os::unix::net::UnixStream::connect(short).is_ok()
        })
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path.join("sock")) else { return Vec::new() };
        let socket = |entry: &fs::DirEntry| {
            let is_gates = entry.file_name().as_encoded_bytes().starts_with(GATE_SOCKET);
            entry.file_type().is_ok_and(|kind| kind.is_socket()) && !is_gates
        };
        entries.filter_map(Result::ok).filter(socket).map(|entry| entry.path()).collect()
    }

    /// A path to `name` that is short enough for a socket, wherever the folder is.
    pub(super) fn short(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()))
    }

    pub(super) fn read_record(&self) -> Option<Record> {
        Record::parse(&fs::read_to_string(self.path.join(PID)).ok()?)
    }

    pub(super) fn write_record(&self, record: Option<&Record>) -> Result<(), FileError> {
        match record {
            Some(record) => self.write(PID, record.to_string().as_bytes(), 0o600),
            None => self.remove(PID),
        }
    }

    pub(super) fn read_last_good(&self) -> Option<Vec<u8>> {
        fs::read(self.path.join(LAST_GOOD)).ok()
    }

    pub(super) fn write_last_good(&self, bytes: &[u8]) -> Result<(), FileError> {
        self.write(LAST_GOOD, bytes, 0o600)
    }

    fn write_if_other(&self, name: &str, bytes: &[u8], mode: u32) -> Result<bool, FileError> {
        let same = fs::read(self.path.join(name)).is_ok_and(|now| now == bytes);
        if !same {
            self.write(name, bytes, mode)?;
        }
        Ok(!same)
    }

    /// Writes a file so that it is there as a whole or not at all, even if the machine loses power. Of one that does
    /// not fit on the disk nothing stays, neither room nor secrets.
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        let (path, draft) = (self.path.join(name), self.path.join(format!(".{name}.draft")));
        let write = || {
            // An old draft may have another mode.
            let _ = fs::remove_file(&draft);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            self.handle.sync_all()
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&draft);
            failed("write", &path)(error)
        })
    }

    fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("run"), ProxyKind::Nginx).unwrap();
        (place, folder)
    }

    fn mode(folder: &Folder, name: &str) -> u32 {
        fs::metadata(folder.path.join(name)).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_supervisor_at_a_time() {
        let (_place, folder) = folder();
        let second = Folder::open(&folder.path, ProxyKind::Nginx).unwrap_err();
        assert!(second.to_string().contains("in use by another nodeweir"), "{second}");
        let path = folder.path.clone();
        // As a child has it that is not yet running its own program.
        let _inherited = folder.lock.try_clone().unwrap();
        drop(folder);
        Folder::open(&path, ProxyKind::Haproxy).unwrap();
    }

    #[test]
    fn the_previous_file_comes_back() {
        let (_place, folder) = folder();
        let put = |text: &str| {
            folder.write_candidate(text).unwrap();
            folder.swap().unwrap();
        };
        put("one");
        folder.swap_back().unwrap();
        assert!(!folder.path.join("nginx.conf").exists(), "there was none before");
        put("one");
        put("two");
        assert!(folder.live_is("two"));
        assert_eq!((mode(&folder, "nginx.conf"), mode(&folder, "nginx.conf.old")), (0o600, 0o600));
        folder.swap_back().unwrap();
        assert!(folder.live_is("one"));
        folder.forget_secrets().unwrap();
        assert!(!folder.path.join("nginx.conf").exists());
    }

    #[test]
    fn sockets_are_reached_and_removed_however_long_the_path_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("x".repeat(200)), ProxyKind::Nginx).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.short("sock/a.sock")).unwrap();
        assert!(folder.is_listened_to());
        drop(listener);
        assert!(!folder.is_listened_to());
        fs::write(folder.path.join("sock/other"), "").unwrap();
        let gate = std::os::unix::net::UnixListener::bind(folder.short("sock/gate.sock")).unwrap();
        let next = std::os::unix::net::UnixListener::bind(folder.short("sock/gate.sock.12")).unwrap();
        assert!(!folder.is_listened_to(), "the gate is not the proxy");
        folder.remove_sockets().unwrap();
        assert!(folder.path.join("sock/gate.sock").exists());
        assert!(folder.path.join("sock/gate.sock.12").exists());
        drop((gate, next));
        assert!(folder.path.join("sock/other").exists() && !folder.path.join("sock/a.sock").exists());
    }

    #[test]
    fn nobody_else_reads_along() {
        let (_place, folder) = folder();
        assert_eq!((mode(&folder, "sock"), mode(&folder, "tmp")), (0o700, 0o700));
        assert_eq!(mode(&folder, "") & 0o066, 0);
        folder.set_draining(true).unwrap();
        folder.set_draining(false).unwrap();
        folder.set_draining(false).unwrap();
    }
}
