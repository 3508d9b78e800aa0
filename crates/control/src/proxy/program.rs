//! Which nginx or HAProxy is run, and how.
//!
//! One that is installed is used if it is new enough. Otherwise it comes from the **prepared root**, a folder with a
//! newer Debian in it that `scripts/up` makes: its programs run in place, with that folder's own loader and
//! libraries, and see the machine's files and ports as any other program does.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodeweir_domain::config::ProxyKind;

use super::lua::Lua;

/// Names the prepared root, and makes it the only place that is looked at.
pub const ROOT_VARIABLE: &str = "NODEWEIR_PROXY_ROOT";

/// Where `scripts/up` prepares it unless told otherwise.
const DEFAULT_ROOT: &str = "/var/lib/nodeweir/proxy-root";

/// What the environment of a proxy is reduced to: the rest of ours may hold secrets, and HAProxy can print variables.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH"];

/// A version by its first three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// The least one that works. nginx drops requests of kept connections at each reload before
    /// `keepalive_min_timeout` came with 1.27.4; HAProxy's templates are written for 3.0.
    pub fn least(kind: ProxyKind) -> Self {
        match kind {
            ProxyKind::Nginx => Self([1, 27, 4]),
            ProxyKind::Haproxy => Self([3, 0, 0]),
        }
    }

    /// Reads what `-v` prints: `nginx version: nginx/1.30.6 (Debian)`, `HAProxy version 3.2.26-1 2026/10/14 - …`.
    fn of_output(kind: ProxyKind, output: &str) -> Option<Self> {
        let number = match kind {
            ProxyKind::Nginx => output.split_once("nginx version: ")?.1.split_once('/')?.1,
            ProxyKind::Haproxy => output.split_once("HAProxy version ")?.1,
        };
        let number = number.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
        let mut parts = number.split('.').map(str::parse);
        let first = parts.next()?.ok()?;
        let mut next = || parts.next().and_then(Result::ok).unwrap_or(0);
        Some(Self([first, next(), next()]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A proxy's program that works and is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Which proxy it is.
    pub kind: ProxyKind,
    /// Its version.
    pub version: Version,
    /// The program's file.
    pub file: PathBuf,
    /// The prepared root that it belongs to, if it does.
    pub root: Option<Root>,
    /// How nginx gets the Lua that the gate needs.
    pub lua: Lua,
}

/// A folder with programs and the libraries they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The folder.
    pub folder: PathBuf,
    /// Its loader of programs.
    pub loader: PathBuf,
    /// The folder of its libraries.
    pub libraries: PathBuf,
}

impl Root {
    /// The root in `folder`, for this machine's processor.
    fn new(folder: PathBuf) -> Option<Self> {
        let (loader, triplet) = match std::env::consts::ARCH {
            "x86_64" => ("usr/lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
            "aarch64" => ("usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
            _ => return None,
        };
        Some(Self { loader: folder.join(loader), libraries: folder.join("usr/lib").join(triplet), folder })
    }
}

/// No program that could be used, with all that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    /// Which proxy was looked for.
    pub kind: ProxyKind,
    /// Each place and what was wrong there.
    pub looked: Vec<String>,
    /// Whether the environment named the only place.
    pub forced: bool,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, looked, forced } = self;
        write!(f, "no {kind} to run: {kind} {} or later is needed; {}. ", Version::least(*kind), looked.join("; "))?;
        match forced {
            true => write!(f, "Correct {ROOT_VARIABLE}, or unset it to use an installed {kind}"),
            false => write!(f, "Run scripts/up, which prepares one, or install {kind}"),
        }
    }
}

impl std::error::Error for ProgramError {}

/// Where programs are looked for.
#[derive(Debug, Clone, Default)]
struct Places {
    path: OsString,
    /// The only place, if given.
    forced: Option<PathBuf>,
    default_root: PathBuf,
}

impl Program {
    /// Finds the program for `kind`: in the root that `NODEWEIR_PROXY_ROOT` names; without it on `PATH` if new
    /// enough there; otherwise in the root at its usual place. Each candidate is run once to learn its version.
    pub fn find(kind: ProxyKind) -> Result<Self, ProgramError> {
        Self::find_in(
            kind,
            Places {
                path: std::env::var_os("PATH").unwrap_or_default(),
                forced: std::env::var_os(ROOT_VARIABLE).filter(|root| !root.is_empty()).map(PathBuf::from),
                default_root: PathBuf::from(DEFAULT_ROOT),
            },
        )
    }

    fn find_in(kind: ProxyKind, places: Places) -> Result<Self, ProgramError> {
        let mut looked = Vec::new();
        let forced = places.forced.is_some();
        if !forced {
            // Of users other than root, PATH often lacks the folders where system programs are.
            let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
            let on_path = std::env::split_paths(&places.path)
                .chain(system)
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join(kind.as_str()))
                .find(|file| file.is_file());
            match on_path.map(|file| Self::examine(kind, file, None)) {
                Some(Ok(program)) => return Ok(program),
                Some(Err(why)) => looked.push(why),
                None => looked.push(format!("PATH has no {kind}")),
            }
        }
        let folder = places.forced.unwrap_or(places.default_root);
        if !folder.is_absolute() {
            looked.push(format!("{ROOT_VARIABLE} is {}, which is not an absolute path", folder.display()));
        } else if let Some(root) = Root::new(folder) {
            let file = root.folder.join("usr/sbin").join(kind.as_str());
            if file.is_file() {
                match Self::examine(kind, file, Some(root)) {
                    Ok(program) => return Ok(program),
                    Err(why) => looked.push(why),
                }
            } else {
                looked.push(format!("{} is not there", file.display()));
            }
        } else {
            looked.push(format!("there are no prepared programs for {} processors", std::env::consts::ARCH));
        }
        Err(ProgramError { kind, looked, forced })
    }

    /// Asks for its version, and says what is wrong if something is.
    fn examine(kind: ProxyKind, file: PathBuf, root: Option<Root>) -> Result<Self, String> {
        let program = Self { kind, version: Version([0; 3]), file, root, lua: Lua::Missing };
        let shown = program.file.display();
        let asks = match kind {
            // The same, and how it was built.
            ProxyKind::Nginx => "-V",
            ProxyKind::Haproxy => "-v",
        };
        let output = program.command(kind.as_str()).arg(asks).output();
        let output = output.map_err(|error| format!("{shown} cannot be run: {error}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let Some(version) = Version::of_output(kind, &said) else {
            return Err(format!(
                "{shown} {asks} names no version: {}",
                said.lines().next().unwrap_or("nothing at all")
            ));
        };
        if version < Version::least(kind) {
            return Err(format!("{shown} is {version}"));
        }
        let lua = match kind {
            ProxyKind::Nginx => Lua::of_output(&said, program.root.as_ref()),
            ProxyKind::Haproxy => Lua::Missing,
        };
        Ok(Self { version, lua, ..program })
    }

    /// The program without arguments, seeing itself called `arg0`, with a reduced environment.
    pub(super) fn command(&self, arg0: impl AsRef<std::ffi::OsStr>) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = match &self.root {
            None => Command::new(&self.file),
            Some(root) => {
                let mut command = Command::new(&root.loader);
                command.arg("--library-path").arg(&root.libraries).arg(&self.file);
                command
            }
        };
        command.arg0(arg0).env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    /// A shell script that runs the program of a prepared root. HAProxy's master runs itself anew at each reload, by
    /// its first argument; the loader and its libraries would be lost if that were the program's file.
    pub(super) fn script(&self) -> Option<Vec<u8>> {
        let root = self.root.as_ref()?;
        let mut script = b"#!/bin/sh\nexec ".to_vec();
        for (path, after) in
            [(&root.loader, " --library-path "), (&root.libraries, " --argv0 \"$0\" "), (&self.file, " \"$@\"\n")]
        {
            quote(path, &mut script);
            script.extend_from_slice(after.as_bytes());
        }
        Some(script)
    }
}

/// Appends `path` as one word of a shell.
fn quote(path: &Path, script: &mut Vec<u8>) {
    use std::os::unix::ffi::OsStrExt;
    script.push(b'\'');
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            other => script.push(*other),
        }
    }
    script.push(b'\'');
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind, self.version, self.file.display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let read = |kind, text| Version::of_output(kind, text).map(|version| version.0);
        assert_eq!(read(ProxyKind::Nginx, "nginx version: nginx/1.30.6 (Debian)\n"), Some([1, 30, 6]));
        assert_eq!(read(ProxyKind::Nginx, "nginx version: openresty/1.27.1.2"), Some([1, 27, 1]));
        assert_eq!(read(ProxyKind::Haproxy, "HAProxy version 3.2.26-1 2026/10/14 - x\n"), Some([3, 2, 26]));
        assert_eq!(read(ProxyKind::Haproxy, "HAProxy version 3.3-dev1-2f 2026"), Some([3, 3, 0]));
        assert_eq!(read(ProxyKind::Nginx, "command not found"), None);
        assert_eq!(read(ProxyKind::Haproxy, "HAProxy version next"), None);
        assert!(Version([1, 27, 10]) > Version::least(ProxyKind::Nginx));
        assert!(Version([2, 99, 0]) < Version::least(ProxyKind::Haproxy));
    }

    /// A folder with a program `kind` that prints `says` for any arguments.
    fn folder_with(kind: ProxyKind, says: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(kind.as_str());
        fs::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn places(path: &Path) -> Places {
        Places { path: path.into(), forced: None, default_root: "/does/not/exist".into() }
    }

    #[test]
    fn an_installed_one_is_used_if_it_is_new_enough() {
        for (kind, good, old) in [
            (ProxyKind::Nginx, "nginx version: nginx/1.27.4", "nginx version: nginx/1.27.3"),
            (ProxyKind::Haproxy, "HAProxy version 3.0.0 x", "HAProxy version 2.9.15 x"),
        ] {
            let folder = folder_with(kind, good);
            let found = Program::find_in(kind, places(folder.path())).unwrap();
            assert_eq!((found.version, found.root.is_none()), (Version::least(kind), true));

            let folder = folder_with(kind, old);
            let error = Program::find_in(kind, places(folder.path())).unwrap_err().to_string();
            for part in [folder.path().to_str().unwrap(), "/does/not/exist", "or later is needed", "scripts/up"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_named_root_is_the_only_place() {
        let folder = folder_with(ProxyKind::Nginx, "nginx version: nginx/9.9.9");
        for named in ["/does/not/exist", "relative"] {
            let places = Places { forced: Some(named.into()), ..places(folder.path()) };
            let error = Program::find_in(ProxyKind::Nginx, places).unwrap_err();
            assert!(error.forced && error.looked.len() == 1, "{error:?}");
            assert!(error.to_string().contains(ROOT_VARIABLE), "{error}");
        }
    }

    #[test]
    fn a_script_survives_any_path() {
        let root = Root::new("/a b/it's".into()).unwrap();
        let file = root.folder.join("usr/sbin/haproxy");
        let program = Program {
            kind: ProxyKind::Haproxy,
            version: Version([3, 2, 0]),
            file,
            root: Some(root),
            lua: Lua::Missing,
        };
        let script = String::from_utf8(program.script().unwrap()).unwrap();
        assert!(script.starts_with("#!/bin/sh\nexec '/a b/it'\\''s/usr/lib"), "{script}");
        assert!(script.ends_with(" --argv0 \"$0\" '/a b/it'\\''s/usr/sbin/haproxy' \"$@\"\n"), "{script}");
    }
}
