//! Runs a fuzz target's check over the inputs that are kept for it.

use std::path::{Path, PathBuf};

/// Checks every file of the target: those that were made by hand, of which there are at least `least`, and those that
/// the fuzzer found.
pub(crate) fn check_kept(target: &str, least: usize, check: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let made = files(&fuzz.join("corpus").join(target));
    assert!(made.len() >= least, "{} of {target}", made.len());
    let fails = |path: &PathBuf| std::panic::catch_unwind(|| check(&std::fs::read(path).unwrap())).is_err();
    let failed: Vec<_> = made.into_iter().chain(files(&fuzz.join("found").join(target))).filter(fails).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// None where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}
