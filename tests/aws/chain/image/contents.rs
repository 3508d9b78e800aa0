//! What `docker/sbom.sh` says is in the image, held against what others say: the crates against cargo and the lock file,
//! the packages against dpkg, the form against the schema that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::build::tool;
use crate::template::repository;

/// A name and a version.
type Release = (String, String);

/// Says nothing, unless the file is not what the schema of its version allows.
const VALIDATE: &str = "
import sys
from jsonschema import FormatChecker
# Pure Python, and slow: three minutes for the addresses of one image.
for slow in ('iri', 'iri-reference'):
    FormatChecker.checkers.pop(slow, None)
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_7).validate_str(open(sys.argv[1]).read())
sys.exit(wrong and str(wrong))
";

/// Reads `file`, which is about the image whose files are in `root`.
pub(super) fn are_all_told(file: &Path, root: &Path) {
    say(tool("python"), &["-c", VALIDATE, file.to_str().unwrap()]);
    let bill: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&Value::from("CycloneDX"), &Value::from("1.7")));
    let components = bill["components"].as_array().unwrap();
    let told = |of: &str| components.iter().filter(move |one| text(&one["purl"]).starts_with(of)).collect::<Vec<_>>();

    let crates = told("pkg:cargo/");
    crates_are_those_of_the_lock(&crates);
    let missing: Vec<_> = compiled_in().difference(&releases(&crates)).cloned().collect();
    assert_eq!(missing, [], "are compiled in, and are not told");

    let is_source = |package: &&&Value| text(&package["purl"]).contains("arch=source");
    let packages: Vec<&Value> = told("pkg:deb/").into_iter().filter(|package| !is_source(&package)).collect();
    let installed = installed(root);
    assert!(installed.iter().any(|(name, version)| name == "nginx" && version.starts_with("1.")), "{installed:?}");
    assert_eq!(releases(&packages), installed);
}

/// Nothing is told that cargo would not fetch: the version is the lock's, and so is the digest.
fn crates_are_those_of_the_lock(crates: &[&Value]) {
    let locked = locked();
    for one in crates {
        let release = release(one);
        let digest = locked.get(&release).unwrap_or_else(|| panic!("{release:?} is not in the lock file"));
        let told = one["hashes"].as_array().map(|hashes| text(&hashes[0]["content"]));
        assert_eq!(told, digest.as_deref(), "{release:?}");
    }
    assert!(releases(crates).iter().any(|(name, _)| name == "hyper"), "the gate's server");
}

/// The lock file's releases with their digests; crates of the repository have none.
fn locked() -> BTreeMap<Release, Option<String>> {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    let value = |part: &str, name: &str| {
        let start = format!("{name} = \"");
        part.lines().find_map(|line| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned()))
    };
    let parts = lock.split("[[package]]\n").skip(1);
    parts
        .map(|part| ((value(part, "name").unwrap(), value(part, "version").unwrap()), value(part, "checksum")))
        .collect()
}

/// What cargo would compile into `nodeweir-proxy`, by its own resolver.
fn compiled_in() -> BTreeSet<Release> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let manifest = repository().join("Cargo.toml");
    let tree = say(
        std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        &[
            "tree",
            "--manifest-path",
            manifest.to_str().unwrap(),
            "--locked",
            "--package",
            "nodeweir-container",
            "--edges",
        ]
        .into_iter()
        .chain(["normal", "--target", &target, "--prefix", "none", "--format", "{p}"])
        .collect::<Vec<_>>(),
    );
    let tree: BTreeSet<Release> = tree.lines().filter_map(|line| pair(line, " v")).collect();
    assert!(tree.len() > 100, "{tree:?}");
    tree
}

/// What dpkg has installed there.
fn installed(root: &Path) -> BTreeSet<Release> {
    let folder = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let list = say("dpkg-query", &[&folder, "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\n"]);
    list.lines().filter_map(|line| pair(line.strip_prefix("installed ")?, " ")).collect()
}

/// The words on either side; what follows the second is something else.
fn pair(line: &str, between: &str) -> Option<Release> {
    let (name, rest) = line.split_once(between)?;
    Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
}

fn releases(components: &[&Value]) -> BTreeSet<Release> {
    components.iter().map(|one| release(one)).collect()
}

fn release(component: &Value) -> Release {
    (text(&component["name"]).to_owned(), text(&component["version"]).to_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a program printed.
fn say(program: impl AsRef<OsStr>, words: &[&str]) -> String {
    let done = Command::new(program).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
