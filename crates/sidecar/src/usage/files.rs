//! The log's files: the one that nginx writes, and those that were renamed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nodeweir_domain::gate::usage::LogCursor;

/// The file that nginx writes.
pub(super) const CURRENT: &str = "requests.log";

/// Bytes that are read at a time: about 4,000 requests.
const MOST: u64 = 1 << 20;

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

#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Its place in time: renamed files by their number, then the current one.
    order: u64,
    file: u64,
    length: u64,
    changed: SystemTime,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The next whole lines after `seen`; `None` if there are none now. Renamed files that were read to their end and
    /// have not changed for `quiet` are deleted.
    pub(super) fn read_after(&self, seen: Option<LogCursor>, quiet: Duration) -> io::Result<Option<Piece>> {
        let parts = self.parts()?;
        // Files before the one that the cursor names were read; if it names none of these, none was.
        let at = seen.and_then(|seen| parts.iter().position(|part| part.file == seen.file));
        let mut from = match (seen, at) {
            (Some(seen), Some(_)) => seen.offset,
            _ => 0,
        };
        for (index, part) in parts.iter().enumerate() {
            if at.is_some_and(|at| index < at) {
                remove_if_quiet(part, quiet)?;
                continue;
            }
            // What somebody cut short is read from its start: nginx only ever appends.
            let start = if from > part.length { 0 } else { from };
            from = 0;
            let behind: u64 = parts[index..].iter().map(|part| part.length).sum::<u64>() - start;
            let text = lines(&part.path, start)?;
            if text.is_empty() {
                // Only a file that a later one follows is complete.
                if index + 1 < parts.len() {
                    if !is_quiet(part, quiet) {
                        return Ok(None);
                    }
                    continue;
                }
                return Ok(None);
            }
            let length = text.len() as u64;
            let cursor = LogCursor { file: part.file, offset: start + length };
            let behind = behind - length;
            return Ok(Some(Piece { text, counted: 0, cursor, behind }));
        }
        Ok(None)
    }

    fn parts(&self) -> io::Result<Vec<Part>> {
        let mut parts = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            // The proxy has not been started yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(parts),
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
            // It may have been renamed meanwhile; then the next look finds it.
            let Ok(meta) = entry.metadata() else { continue };
            let (file, length) = (identity(&meta), meta.len());
            parts.push(Part { path: entry.path(), order, file, length, changed: meta.modified()? });
        }
        parts.sort_by_key(|part| part.order);
        Ok(parts)
    }
}

/// What tells a file from every other, also from one that gets its inode after it was deleted or the machine was started
/// again: its inode and, where the file system keeps it, the time it was made.
fn identity(meta: &Metadata) -> u64 {
    let made = meta.created().ok().and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    let made = made.map_or(0, |made| u64::try_from(made.as_nanos()).unwrap_or_default());
    meta.ino().rotate_left(40) ^ made
}

fn is_quiet(part: &Part, quiet: Duration) -> bool {
    // A clock that was set back makes a file wait until it has passed that time again.
    part.changed.elapsed().is_ok_and(|age| age >= quiet)
}

fn remove_if_quiet(part: &Part, quiet: Duration) -> io::Result<()> {
    if part.order == u64::MAX || !is_quiet(part, quiet) {
        return Ok(());
    }
    match fs::remove_file(&part.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole lines from `start` on; what has no end yet stays.
fn lines(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => text.truncate(end + 1),
        // No line of nginx is so long: it is passed over as one that cannot be read.
        None if text.len() as u64 == MOST => {}
        None => text.clear(),
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tempfile::TempDir;

    use super::*;

    struct Log(TempDir);

    impl Log {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.0.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rename(&self, number: u64) {
            let to = self.0.path().join(format!("{CURRENT}.{number:06}"));
            fs::rename(self.0.path().join(CURRENT), to).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> =
                fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        /// Everything that is to be read now, piece by piece, as one text.
        fn read(&self, seen: &mut Option<LogCursor>, quiet: Duration) -> String {
            let files = Files::new(self.0.path().to_owned());
            let mut all = Vec::new();
            while let Some(piece) = files.read_after(*seen, quiet).unwrap() {
                assert_ne!(Some(piece.cursor), *seen);
                *seen = Some(piece.cursor);
                all.extend(piece.text);
            }
            String::from_utf8(all).unwrap()
        }
    }

    #[test]
    fn whole_lines_are_read_once() {
        let (log, mut seen) = (Log::new(), None);
        assert_eq!(log.read(&mut seen, Duration::ZERO), "");
        log.append(CURRENT, "a\nb\nhal");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "a\nb\n");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "");
        log.append(CURRENT, "f\nc\n");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "half\nc\n");
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_and_deleted_when_it_is_quiet() {
        let (log, mut seen) = (Log::new(), None);
        log.append(CURRENT, "a\n");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "a\n");
        log.append(CURRENT, "b\n");
        log.rename(1);
        log.append(CURRENT, "d\n");
        let long = Duration::from_secs(3600);
        // A worker may still write into the renamed one.
        assert_eq!(log.read(&mut seen, long), "b\n");
        log.append(&format!("{CURRENT}.000001"), "c\n");
        assert_eq!(log.read(&mut seen, long), "c\n");
        assert_eq!(log.names().len(), 2);
        assert_eq!(log.read(&mut seen, Duration::ZERO), "d\n");
        // Its cursor is beyond the renamed file now.
        assert_eq!(log.read(&mut seen, Duration::ZERO), "");
        assert_eq!(log.names(), [CURRENT]);
    }

    #[test]
    fn files_are_read_in_the_order_of_their_numbers() {
        let (log, mut seen) = (Log::new(), None);
        for number in 1..=11 {
            log.append(CURRENT, &format!("{number}\n"));
            log.rename(number);
        }
        log.append(CURRENT, "last\n");
        log.append("another-file", "x\n");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\nlast\n");
        assert_eq!(log.names(), ["another-file", CURRENT]);
    }

    #[test]
    fn a_cursor_of_another_file_means_nothing() {
        let (log, mut seen) = (Log::new(), Some(LogCursor { file: 1, offset: 2 }));
        log.append(CURRENT, "a\nb\n");
        assert_eq!(log.read(&mut seen, Duration::ZERO), "a\nb\n");
        // Cut short, by whomever: what is there is new.
        fs::write(log.0.path().join(CURRENT), "c\n").unwrap();
        assert_eq!(log.read(&mut seen, Duration::ZERO), "c\n");
    }

    #[test]
    fn garbage_without_lines_is_passed_over() {
        let (log, mut seen) = (Log::new(), None);
        log.append(CURRENT, &"x".repeat(usize::try_from(MOST).unwrap()));
        log.append(CURRENT, "\na\n");
        assert!(log.read(&mut seen, Duration::ZERO).ends_with("x\na\n"));
    }
}
