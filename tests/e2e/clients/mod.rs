//! Ethereum's client libraries in their current releases: what each makes of every refusal, and that its normal calls
//! work. The programs are in `tests/clients`.
//!
//! They live in this target and not in one of their own, because they meet the same nodes and fleets. A test takes a
//! fleet's place ([`crate::both`]) before it runs programs; running one takes none, so a test that has a fleet may.

pub(crate) mod expected;
mod normal;
pub(crate) mod play;
pub(crate) mod refusal;
pub(crate) mod refused;
mod seen;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::rig::run as run_to_its_end;

/// Names the folder of the programs, where it is not the one that `scripts/test` prepares.
const VARIABLE: &str = "NODEWEIR_CLIENTS";

/// Programs at the same time, over all tests: each keeps a core busy while it starts.
static PROGRAMS: Semaphore = Semaphore::const_new(3);

/// A client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    Ethers5,
    Ethers6,
    Viem,
    Web3Js,
    Web3Py,
    Alloy,
}

impl Library {
    pub(crate) const ALL: [Self; 6] =
        [Self::Ethers5, Self::Ethers6, Self::Viem, Self::Web3Js, Self::Web3Py, Self::Alloy];

    /// As its program calls itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ethers5 => "ethers5",
            Self::Ethers6 => "ethers6",
            Self::Viem => "viem",
            Self::Web3Js => "web3js",
            Self::Web3Py => "web3py",
            Self::Alloy => "alloy",
        }
    }

    fn command(self) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients");
        let folder = std::env::var_os(VARIABLE).map_or(folder, PathBuf::from);
        let (interpreter, program) = match self {
            Self::Ethers5 | Self::Ethers6 | Self::Viem | Self::Web3Js => {
                (Some(PathBuf::from("node")), format!("{}.mjs", self.name()))
            }
            Self::Web3Py => (Some(folder.join(".venv/bin/python")), "web3py.py".to_owned()),
            Self::Alloy => (None, "alloy/target/debug/client-alloy".to_owned()),
        };
        let program = folder.join(program);
        let installed = match self {
            Self::Web3Py | Self::Alloy => interpreter.as_ref().unwrap_or(&program).clone(),
            _ => folder.join("node_modules/.package-lock.json"),
        };
        assert!(
            installed.exists(),
            "these tests need client libraries: there is no {}. Run scripts/test, which installs them, or name the \
             folder of yours in {VARIABLE}",
            installed.display()
        );
        match interpreter {
            Some(interpreter) => {
                let mut command = Command::new(interpreter);
                command.arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// What an application does, up to a transaction's receipt.
    Normal,
    /// One call.
    Single,
    /// Three calls in a batch.
    Batch,
    /// One call of an ethers provider that does not know the network yet.
    Fresh,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Fresh => "fresh",
        })
    }
}

/// What came of a scenario.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) library: String,
    pub(crate) version: String,
    pub(crate) scenario: String,
    /// Whether everything in it succeeded.
    pub(crate) ok: bool,
    /// In the order of the calls.
    #[serde(default)]
    pub(crate) results: Vec<Called>,
    /// The first one.
    pub(crate) error: Option<Raised>,
    /// It still tried when its time was over.
    #[serde(default)]
    pub(crate) timed_out: bool,
    /// The library threw where no user can catch it.
    #[serde(default)]
    pub(crate) uncaught: bool,
}

impl Outcome {
    /// The results, by their names; those that failed are left out.
    pub(crate) fn values(&self) -> Vec<(&str, &str)> {
        self.results.iter().filter_map(|one| Some((one.call.as_str(), one.value.as_deref()?))).collect()
    }
}

/// One of a scenario's calls.
#[derive(Debug, Deserialize)]
pub(crate) struct Called {
    pub(crate) call: String,
    pub(crate) value: Option<String>,
}

/// An error as the library shows it to its user.
#[derive(Debug, Deserialize)]
pub(crate) struct Raised {
    /// Of the error's type.
    pub(crate) name: String,
    /// The library's or the server's, as the library has it.
    #[serde(default)]
    pub(crate) code: Value,
    pub(crate) message: String,
    /// Everything else that a user can get at.
    #[serde(default)]
    pub(crate) data: Value,
}

/// Runs one scenario at an address.
pub(crate) async fn run(library: Library, url: &str, scenario: Scenario) -> Outcome {
    run_all(library, &[(url.to_owned(), scenario)]).await.remove(0)
}

/// Runs several at once, in one program because starting it takes longer than they do.
pub(crate) async fn run_all(library: Library, wanted: &[(String, Scenario)]) -> Vec<Outcome> {
    let mut command = library.command();
    for (url, scenario) in wanted {
        command.arg(url).arg(scenario.to_string());
    }
    // Nothing here goes to another machine, whatever this one's settings are.
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NODE_OPTIONS", "PYTHONPATH"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    let _place = PROGRAMS.acquire().await.unwrap();
    let done = run_to_its_end(command).await.exits(0);
    let read = |line: &str| -> Outcome {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{} printed no outcome ({error}): {line}", library.name()))
    };
    let outcomes: Vec<_> = done.out.lines().map(read).collect();
    assert_eq!(outcomes.len(), wanted.len(), "{}: {done:?}", library.name());
    for (outcome, (_, scenario)) in outcomes.iter().zip(wanted) {
        assert_eq!((outcome.library.as_str(), outcome.scenario.as_str()), (library.name(), &*scenario.to_string()));
    }
    outcomes
}
