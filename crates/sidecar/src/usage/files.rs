//! The log's files: the one that nginx writes, and those that were renamed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nodeweir_domain::gate::usage::LogCursor;

/// The file that nginx writes.
pub(super) const CURRENT: &str = "requests.log";

/// Bytes that are read at a time: about 4,000 requests.
const MOST: u64 = 1 << 20;

/// How often the folder is listed until two lists in a row are the same. A list takes microseconds, and a file is
/// renamed every 25,000 requests.
const LISTS: usize = 8;

/// The folder of the log.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

/// Whole lines, and where the reading stands after them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    /// Bytes of it that have been counted.
    pub(super) counted: usize,
    pub(super) cursor: LogCursor,
    /// Bytes that are still to be read.
    pub(super) behind: u64,
}

/// A file's name, before anybody has opened it.
#[derive(Debug, Clone)]
struct Name {
    path: PathBuf,
    /// Its place in time: renamed files by their number, then the current one.
    order: u64,
}

/// A file. All that is known of it, and its text, is from one handle, so that it stays the same file whatever becomes
/// of its name.
#[derive(Debug)]
struct Part {
    name: Name,
    open: File,
    file: u64,
    /// When it was opened; it may have grown since, which is for the next time.
    length: u64,
    /// When it was written to or renamed.
    changed: SystemTime,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The next whole lines after `seen`; `None` if there are none now, or if files are renamed all the time. Renamed
    /// files before that of `counted`, which have not changed for `quiet`, are deleted.
    pub(super) fn read_after(
        &self,
        seen: Option<LogCursor>,
        counted: Option<LogCursor>,
        quiet: Duration,
    ) -> io::Result<Option<Piece>> {
        match settled(|| open(self.names()?))? {
            Some(parts) => next(&parts, seen, counted, quiet),
            None => Ok(None),
        }
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            // The proxy has not been started yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(CURRENT)) else { continue };
            let order = match rest.strip_prefix('.').map(str::parse) {
                Some(Ok(number)) => number,
                None if rest.is_empty() => u64::MAX,
                _ => continue,
            };
            names.push(Name { path: entry.path(), order });
        }
        names.sort_by_key(|name| name.order);
        Ok(names)
    }
}

/// Opens them; `None` if one is gone.
fn open(names: Vec<Name>) -> io::Result<Option<Vec<Part>>> {
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        let open = match File::open(&name.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            open => open?,
        };
        let meta = open.metadata()?;
        parts.push(Part { name, file: identity(&meta), length: meta.len(), changed: changed(&meta), open });
    }
    Ok(Some(parts))
}

/// What `list` finds, once it finds the same files under the same names twice in a row; `None` if that does not happen.
///
/// A list is made name by name while nginx's supervisor renames: it may lack a file, or have a new one under the name
/// of the one before it, as if that were gone. Two lists that are the same cannot. A file is renamed once in its life,
/// so its name is fixed during one of them at least, which then has it. And a file is made only after the one before it
/// was renamed: that one was there, under its last name, during all of the second list.
fn settled(mut list: impl FnMut() -> io::Result<Option<Vec<Part>>>) -> io::Result<Option<Vec<Part>>> {
    let mut before: Option<Vec<(u64, u64)>> = None;
    for _ in 0..LISTS {
        let Some(parts) = list()? else {
            before = None;
            continue;
        };
        let now = parts.iter().map(|part| (part.name.order, part.file)).collect();
        if before.as_ref() == Some(&now) {
            return Ok(Some(parts));
        }
        before = Some(now);
    }
    Ok(None)
}

/// The next whole lines after `seen` of `parts`, which are all that there are.
fn next(
    parts: &[Part],
    seen: Option<LogCursor>,
    counted: Option<LogCursor>,
    quiet: Duration,
) -> io::Result<Option<Piece>> {
    let is_counted = |index: usize| {
        let at = counted.and_then(|counted| parts.iter().position(|part| part.file == counted.file));
        at.is_some_and(|at| index < at)
    };
    // Files before the one that the cursor names were read. If it names none of these, that one was deleted unread,
    // and so was all before it: whoever bounds the log starts with the oldest.
    let at = seen.and_then(|seen| parts.iter().position(|part| part.file == seen.file));
    let mut from = match (seen, at) {
        (Some(seen), Some(_)) => seen.offset,
        _ => 0,
    };
    for (index, part) in parts.iter().enumerate() {
        if is_counted(index) {
            remove_if_quiet(part, quiet)?;
        }
        if at.is_some_and(|at| index < at) {
            continue;
        }
        // What somebody cut short is read from its start: nginx only ever appends.
        let start = if from > part.length { 0 } else { from };
        from = 0;
        let text = lines(part, start)?;
        if text.is_empty() {
            // Only a file that a later one follows is complete, when no worker writes to it any more.
            if index + 1 == parts.len() || !is_quiet(part, quiet) {
                return Ok(None);
            }
            continue;
        }
        let end = start + text.len() as u64;
        let behind = parts[index..].iter().map(|part| part.length).sum::<u64>() - end;
        return Ok(Some(Piece { text, counted: 0, cursor: LogCursor::at(part.file, end), behind }));
    }
    Ok(None)
}

/// What tells a file from every other, also from one that gets its inode after it was deleted or the machine was started
/// again: its inode and, where the file system keeps it, the time it was made.
fn identity(meta: &Metadata) -> u64 {
    let made = meta.created().ok().and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    let made = made.map_or(0, |made| u64::try_from(made.as_nanos()).unwrap_or_default());
    meta.ino().rotate_left(40) ^ made
}

/// Not the time of its last line: a file that had none for long may just have been renamed, and workers still write to it.
fn changed(meta: &Metadata) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(meta.ctime()).unwrap_or_default());
    let nanoseconds = Duration::from_nanos(u64::try_from(meta.ctime_nsec()).unwrap_or_default());
    SystemTime::UNIX_EPOCH + seconds + nanoseconds
}

fn is_quiet(part: &Part, quiet: Duration) -> bool {
    // A clock that was set back makes a file wait until it has passed that time again.
    part.changed.elapsed().is_ok_and(|age| age >= quiet)
}

fn remove_if_quiet(part: &Part, quiet: Duration) -> io::Result<()> {
    if part.name.order == u64::MAX || !is_quiet(part, quiet) {
        return Ok(());
    }
    // A number is given once, so this is still the file that was opened.
    match fs::remove_file(&part.name.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole lines from `start` on, as far as the file went when it was opened; what has no end yet stays.
fn lines(part: &Part, start: u64) -> io::Result<Vec<u8>> {
    let mut file = &part.open;
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(MOST.min(part.length.saturating_sub(start))).read_to_end(&mut text)?;
    match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => text.truncate(end + 1),
        // No line of nginx is so long: it is passed over as one that cannot be read.
        None if text.len() as u64 == MOST => {}
        None => text.clear(),
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
