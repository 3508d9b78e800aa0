//! The emulator itself, a child process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use crate::client::Client;

/// Names the virtual environment, where it is not the one that `scripts/test` makes.
const VARIABLE: &str = "NODEWEIR_AWS_TOOLS";

/// moto's server, started by `tests/aws/serve.py`. It ends when this is dropped, or with the test's process.
#[derive(Debug)]
pub struct Moto {
    url: String,
    child: Child,
}

impl Moto {
    /// A new one, with nothing in it. Takes about a second; most tests do well with [`Moto::shared`].
    pub fn start() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tools = std::env::var_os(VARIABLE).map_or_else(|| tests.join("aws/.venv"), PathBuf::from);
        let python = tools.join("bin/python");
        assert!(
            python.is_file(),
            "these tests need an emulator of AWS: there is no Python at {}. Run scripts/test, which installs it, or name \
             your virtual environment in {VARIABLE}",
            python.display()
        );
        // It ends when its standard input does, which is when this process ends in any way.
        let mut child = Command::new(python)
            .arg(tests.join("aws/serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let mut url = String::new();
        // An end without a line means that it has said why on standard error.
        said.read_line(&mut url).expect("the emulator's address is text");
        let url = url.trim().to_owned();
        assert!(url.starts_with("http://"), "the emulator of AWS did not start: {:?}", child.wait());
        Self { url, child }
    }

    /// One for all tests of this process. They keep apart by their proxies' accounts; names of buckets are all tests'.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Moto> = LazyLock::new(Moto::start);
        &SHARED
    }

    /// Its address, `http://127.0.0.1:PORT`, past any proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A plain client of its own account 123456789012.
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
