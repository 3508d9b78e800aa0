use std::io::Write as _;
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use super::*;

struct Log(TempDir);

impl Log {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_files() -> (Self, Files) {
        let log = Self::new();
        let files = Files::new(log.0.path().to_owned());
        (log, files)
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
        while let Some(piece) = files.read_after(*seen, *seen, quiet).unwrap() {
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
    let (log, mut seen) = (Log::new(), Some(LogCursor::at(1, 2)));
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

/// Of one piece.
fn text(piece: Option<Piece>) -> (String, u64) {
    piece.map(|piece| (String::from_utf8(piece.text).unwrap(), piece.behind)).unwrap_or_default()
}

#[test]
fn what_is_written_while_a_file_is_read_is_for_the_next_time() {
    let (log, files) = Log::with_files();
    log.append(CURRENT, "a\n");
    let parts = open(files.names().unwrap()).unwrap().unwrap();
    log.append(CURRENT, "b\nc\n");
    let piece = next(&parts, None, None, Duration::ZERO).unwrap();
    let seen = piece.as_ref().map(|piece| piece.cursor);
    assert_eq!(text(piece), ("a\n".to_owned(), 0));
    assert_eq!(text(files.read_after(seen, seen, Duration::ZERO).unwrap()), ("b\nc\n".to_owned(), 0));
}

#[test]
fn a_file_is_the_same_after_it_was_renamed() {
    let (log, files) = Log::with_files();
    log.append(CURRENT, "a\n");
    let mut seen = None;
    log.read(&mut seen, Duration::ZERO);
    log.append(CURRENT, "b\n");
    let parts = open(files.names().unwrap()).unwrap().unwrap();
    log.rename(1);
    log.append(CURRENT, "new\nlines\n");
    let piece = next(&parts, seen, seen, Duration::ZERO).unwrap().unwrap();
    assert_eq!((piece.text.as_slice(), piece.cursor.file), (b"b\n".as_slice(), seen.unwrap().file));
    seen = Some(piece.cursor);
    assert_eq!(log.read(&mut seen, Duration::ZERO), "new\nlines\n");
}

#[test]
fn a_list_made_while_a_file_is_renamed_means_nothing() {
    let long = Duration::from_secs(3600);
    for is_opened_anew in [false, true] {
        let (log, files) = Log::with_files();
        for number in 1..=3 {
            log.append(CURRENT, &format!("{number}\n"));
            log.rename(number);
        }
        log.append(CURRENT, "4\n");
        let (mut seen, quiet) = (None, Duration::ZERO);
        assert_eq!(log.read(&mut seen, quiet), "1\n2\n3\n4\n");
        log.append(CURRENT, "5\n");
        // The names are known, and no file is open yet.
        let mut names = Some(files.names().unwrap());
        log.rename(4);
        if is_opened_anew {
            log.append(CURRENT, "6\n");
        }
        let mut lists = 0;
        let parts = settled(|| {
            lists += 1;
            open(names.take().map_or_else(|| files.names(), Ok)?)
        });
        let parts = parts.unwrap().unwrap();
        assert_eq!(lists, 3);
        assert_eq!(text(next(&parts, seen, seen, long).unwrap()).0, "5\n");
        assert_eq!(log.read(&mut seen, quiet), if is_opened_anew { "5\n6\n" } else { "5\n" });
    }
}

#[test]
fn lists_that_are_never_the_same_say_nothing() {
    let (log, files) = Log::with_files();
    let mut number = 0;
    let parts = settled(|| {
        log.append(CURRENT, "a\n");
        number += 1;
        log.rename(number);
        open(files.names()?)
    });
    assert!(parts.unwrap().is_none());
    assert_eq!(log.read(&mut None, Duration::ZERO), "a\n".repeat(LISTS));
}

#[test]
fn a_file_that_was_just_renamed_is_not_quiet_however_old_its_last_line_is() {
    let (log, mut seen) = (Log::new(), None);
    log.append(CURRENT, "a\n");
    let hour = Duration::from_secs(3600);
    let written = File::options().append(true).open(log.0.path().join(CURRENT)).unwrap();
    written.set_modified(SystemTime::now() - 2 * hour).unwrap();
    log.rename(1);
    log.append(CURRENT, "c\n");
    assert_eq!(log.read(&mut seen, hour), "a\n");
    log.append(&format!("{CURRENT}.000001"), "b\n");
    assert_eq!(log.read(&mut seen, Duration::ZERO), "b\nc\n");
}

#[test]
fn nothing_is_lost_or_read_twice_while_files_are_written_and_renamed() {
    const FILES: u64 = 300;
    const LINES: u64 = 8;
    let ((log, files), mut seen, mut all) = (Log::with_files(), None, String::new());
    thread::scope(|scope| {
        let log = &log;
        // The writer is a few files ahead of the reader at most.
        let (goes_on, may_go_on) = mpsc::sync_channel(4);
        let writer = scope.spawn(move || {
            for number in 1..=FILES {
                let path = log.0.path().join(CURRENT);
                let mut file = File::options().create_new(true).append(true).open(path).unwrap();
                for line in 0..LINES {
                    if line == LINES / 2 && number < FILES {
                        // A worker writes into the renamed file until it has opened the new one.
                        log.rename(number);
                    }
                    file.write_all(b"nobody expects ").unwrap();
                    file.write_all(format!("line {number}.{line}\n").as_bytes()).unwrap();
                }
                goes_on.send(()).unwrap();
            }
        });
        loop {
            let is_last = writer.is_finished();
            while let Some(piece) = files.read_after(seen, seen, Duration::ZERO).unwrap() {
                seen = Some(piece.cursor);
                all += str::from_utf8(&piece.text).unwrap();
            }
            if is_last {
                break;
            }
            let _ = may_go_on.try_recv();
        }
    });
    let line = |index: u64| format!("nobody expects line {}.{}\n", index / LINES + 1, index % LINES);
    let expected = (0..FILES * LINES).map(line).collect::<Vec<_>>().concat();
    assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    assert_eq!(log.names(), [CURRENT]);
}
