//! The log of what was used, which nginx writes and the gate's process reads and makes bills of.
//!
//! It lies in `usage/` of the proxy's folder: a link to a private folder on a memory file system where there is one
//! with room, so that no disk makes nginx wait. The file written now is `requests.log`. When it is long enough it is
//! renamed to `requests.log.<number>`, and nginx is told to open a new one; numbers only grow. Workers may write to
//! the renamed file for some milliseconds more. Its reader, another process, follows each file by offset, goes on to
//! the next one when a renamed one has been quiet for seconds, and deletes what it has read.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FsWord, statfs, statvfs};
use rustix::process::geteuid;

use super::folder::{FileError, failed};
use super::host::Account;

/// The link or folder in the proxy's folder.
pub(super) const FOLDER: &str = "usage";
/// Written by nginx now.
const LIVE: &str = "requests.log";
/// A line is about 300 bytes: this many are some 25,000 requests.
const LONG_ENOUGH: u64 = 8 << 20;
/// Of renamed files that nobody reads.
const MOST: u64 = 256 << 20;
/// Room that a memory file system must have: half of some machines' memory is too little for [`MOST`].
const ROOM: u64 = 2 * MOST;
/// Of file systems that live in memory, by `statfs`.
const TMPFS: FsWord = 0x0102_1994;

/// What one look came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Upkeep {
    /// nginx must be told to open its files again.
    pub(super) must_reopen: bool,
    /// Bytes that were deleted unread.
    pub(super) lost: u64,
}

/// The log of one proxy.
#[derive(Debug)]
pub(super) struct UsageLog {
    /// `usage` in the proxy's folder.
    path: PathBuf,
    /// The last number given.
    last: u64,
}

impl UsageLog {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(FOLDER), last: 0 }
    }

    /// Makes the folder if it is not there, and gives it to the workers. True if it was not there.
    pub(super) fn prepare(&self, workers: Option<&Account>) -> Result<bool, FileError> {
        let path = &self.path;
        let is_new = !self.is_usable(workers);
        if is_new {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(error)),
                _ => {}
            }
            match memory().and_then(private_folder_in) {
                Some(target) => std::os::unix::fs::symlink(target, path),
                None => DirBuilder::new().mode(0o700).create(path),
            }
            .map_err(failed("make", path))?;
        }
        if let Some(Account { uid, gid, .. }) = workers {
            std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).map_err(failed("give to the workers", path))?;
        }
        Ok(is_new)
    }

    /// Whether what is there is a folder of ours that nobody else can look into. In a place where everybody may
    /// make folders, one with the right name proves nothing.
    fn is_usable(&self, workers: Option<&Account>) -> bool {
        let of_us = |uid: u32| uid == geteuid().as_raw() || workers.is_some_and(|account| account.uid == uid);
        let target = fs::read_link(&self.path).unwrap_or_else(|_| self.path.clone());
        let Ok(found) = fs::symlink_metadata(target) else { return false };
        let is_ours = found.is_dir() && of_us(found.uid());
        let is_private = found.permissions().mode() & 0o777 == 0o700;
        is_ours && (is_private || fs::set_permissions(&self.path, Permissions::from_mode(0o700)).is_ok())
    }

    /// Renames the file when it is long enough, and bounds what nobody reads.
    pub(super) fn upkeep(&mut self) -> Result<Upkeep, FileError> {
        let live = self.path.join(LIVE);
        let must_reopen = length(&live)?.is_some_and(|length| length >= LONG_ENOUGH);
        if must_reopen {
            // Milliseconds since 1970 grow also when the folder is made anew.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let newest = self.renamed()?.last().map_or(0, |(number, ..)| *number);
            let next = u64::try_from(now).unwrap_or(0).max(newest + 1).max(self.last + 1);
            fs::rename(&live, self.path.join(format!("{LIVE}.{next:015}"))).map_err(failed("rename", &live))?;
            self.last = next;
        }
        Ok(Upkeep { must_reopen, lost: self.bound()? })
    }

    /// After the last process of the proxy has ended: the folder goes if there is nothing to be read in it.
    pub(super) fn close(&mut self) -> Result<(), FileError> {
        let live = self.path.join(LIVE);
        if length(&live)? == Some(0) {
            fs::remove_file(&live).map_err(failed("remove", &live))?;
        }
        let target = fs::read_link(&self.path).ok();
        // Fails if something is in it, which is as it shall be.
        if fs::remove_dir(target.as_ref().unwrap_or(&self.path)).is_ok() && target.is_some() {
            fs::remove_file(&self.path).map_err(failed("remove", &self.path))?;
        }
        Ok(())
    }

    /// Deletes everything, and the folder.
    pub(super) fn discard(&self) -> Result<(), FileError> {
        let target = fs::read_link(&self.path).ok();
        let folder = target.as_ref().unwrap_or(&self.path);
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", folder)(error)),
            _ => {}
        }
        match target {
            Some(_) => fs::remove_file(&self.path).map_err(failed("remove", &self.path)),
            None => Ok(()),
        }
    }

    /// Every renamed file with its number and length, oldest first.
    fn renamed(&self) -> Result<Vec<(u64, PathBuf, u64)>, FileError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("list", &self.path))?,
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let number = entry.file_name().to_str()?.strip_prefix(LIVE)?.strip_prefix('.')?.parse().ok()?;
                // The reader may just have deleted it.
                Some((number, entry.path(), entry.metadata().ok()?.len()))
            })
            .collect();
        files.sort();
        Ok(files)
    }

    /// Deletes the oldest files while they are too much in all.
    fn bound(&self) -> Result<u64, FileError> {
        let files = self.renamed()?;
        let mut too_much = files.iter().map(|(.., length)| length).sum::<u64>().saturating_sub(MOST);
        let mut lost = 0;
        for (_, path, length) in files {
            if too_much == 0 {
                break;
            }
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            lost += length;
            too_much = too_much.saturating_sub(length);
        }
        Ok(lost)
    }
}

fn length(path: &Path) -> Result<Option<u64>, FileError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// A folder of a memory file system with enough room.
fn memory() -> Option<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    [Some(PathBuf::from("/dev/shm")), of_user].into_iter().flatten().find(|folder| {
        let is_memory = statfs(folder).is_ok_and(|found| found.f_type == TMPFS);
        let has_room = statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= ROOM);
        is_memory && has_room
    })
}

/// A new folder that only this account can look into. Its name cannot be foretold.
fn private_folder_in(place: PathBuf) -> Option<PathBuf> {
    let permissions = Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix("nodeweir-usage-").permissions(permissions).tempdir_in(place);
    made.ok().map(tempfile::TempDir::keep)
}

#[cfg(test)]
mod tests;
