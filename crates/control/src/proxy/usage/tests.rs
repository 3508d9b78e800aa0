use super::*;

fn log() -> (tempfile::TempDir, UsageLog) {
    let place = tempfile::tempdir().unwrap();
    let log = UsageLog::new(place.path());
    assert!(log.prepare(None).unwrap());
    (place, log)
}

/// A file of this length, which takes no room.
fn put(log: &UsageLog, name: &str, length: u64) {
    fs::File::create(log.path.join(name)).unwrap().set_len(length).unwrap();
}

fn names(log: &UsageLog) -> Vec<String> {
    let entries = fs::read_dir(&log.path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_folder_is_private_and_kept() {
    let (_place, mut log) = log();
    let mode = fs::metadata(&log.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let target = fs::canonicalize(&log.path).unwrap();
    assert!(!log.prepare(None).unwrap());
    assert_eq!(fs::canonicalize(&log.path).unwrap(), target);
    if memory().is_some() {
        assert_ne!(target, log.path, "there is a memory file system here");
    }
    put(&log, LIVE, 0);
    log.close().unwrap();
    assert!(!target.exists() && fs::symlink_metadata(&log.path).is_err(), "nothing is left when all was read");
    assert!(log.prepare(None).unwrap());
    log.close().unwrap();
}

#[test]
fn a_folder_that_vanished_or_is_not_ours_is_replaced() {
    let (place, mut log) = log();
    let target = fs::canonicalize(&log.path).unwrap();
    fs::remove_dir(&target).unwrap();
    assert!(log.prepare(None).unwrap(), "it vanished");
    log.close().unwrap();
    let elsewhere = place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.path().join("link")).unwrap();
    std::os::unix::fs::symlink(place.path().join("link"), &log.path).unwrap();
    assert!(log.prepare(None).unwrap(), "a link to a link leads anywhere");
    log.close().unwrap();
    assert!(elsewhere.exists());
}

#[test]
fn a_file_that_is_long_enough_gets_the_next_number() {
    let (_place, mut log) = log();
    assert_eq!(log.upkeep().unwrap(), Upkeep::default(), "nginx has written nothing yet");
    put(&log, LIVE, LONG_ENOUGH - 1);
    assert_eq!(log.upkeep().unwrap(), Upkeep::default());
    let mut last = String::new();
    for count in 1..=5 {
        put(&log, LIVE, LONG_ENOUGH);
        assert!(log.upkeep().unwrap().must_reopen);
        assert_eq!(log.upkeep().unwrap(), Upkeep::default(), "once");
        let all = names(&log);
        assert!(all.len() == count && all[count - 1] > last, "{all:?}");
        assert_eq!(all[count - 1].len(), "requests.log.000000000000000".len());
        last.clone_from(&all[count - 1]);
    }
    // Also after a number of the future, and by a supervisor that gave none yet.
    put(&log, "requests.log.900000000000000", 1);
    put(&log, LIVE, LONG_ENOUGH);
    log.last = 0;
    log.upkeep().unwrap();
    assert_eq!(names(&log)[6], "requests.log.900000000000001");
    log.discard().unwrap();
}

#[test]
fn what_was_not_read_stays_until_it_is_discarded() {
    let (_place, mut log) = log();
    put(&log, LIVE, 6);
    log.close().unwrap();
    assert_eq!(names(&log), [LIVE]);
    assert!(!log.prepare(None).unwrap(), "the next proxy goes on in it");
    let target = fs::canonicalize(&log.path).unwrap();
    log.discard().unwrap();
    assert!(!target.exists() && fs::symlink_metadata(&log.path).is_err());
    log.discard().unwrap();
}

#[test]
fn what_nobody_reads_is_bounded_and_the_loss_is_told() {
    let (_place, mut log) = log();
    for number in 1..=5 {
        put(&log, &format!("{LIVE}.{number:015}"), MOST / 4);
    }
    put(&log, "other", 2 * MOST);
    assert_eq!(log.upkeep().unwrap(), Upkeep { lost: MOST / 4, ..Upkeep::default() });
    assert_eq!(names(&log)[1], "requests.log.000000000000002");
    assert_eq!(log.upkeep().unwrap(), Upkeep::default(), "told once");
    log.discard().unwrap();
}
