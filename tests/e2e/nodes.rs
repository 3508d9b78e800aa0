//! Real Ethereum nodes: `anvil`, each an island that mines when it is told to, or for each transaction.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Answer, Connection, request};
use crate::process::{Owned, free_port, until};

/// Names the program, where it is not the one that `scripts/test` installs.
const VARIABLE: &str = "NODEWEIR_ANVIL";

/// The chain of the tests.
pub(crate) const CHAIN: u64 = 1337;
/// Where nodes start unless told otherwise: high enough to have some blocks to be behind.
pub(crate) const HEAD: u64 = 1000;

fn program() -> PathBuf {
    let installed = "tests/tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(installed));
    let installed = above.find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from(installed));
    let file = std::env::var_os(VARIABLE).map_or(installed, PathBuf::from);
    assert!(
        file.is_file(),
        "these tests need real Ethereum nodes: there is no anvil at {}. Run scripts/test, which installs one, or name \
         yours in {VARIABLE}",
        file.display()
    );
    file
}

/// When a node makes blocks.
#[derive(Clone, Copy)]
enum Mining {
    WhenTold,
    EachTransaction,
}

/// One node.
pub(crate) struct Anvil {
    pub(crate) port: u16,
    /// Where it listens, and by which address it goes.
    host: Ipv4Addr,
    chain: u64,
    mining: Mining,
    child: Owned,
    /// Holds what it prints: the name of each method it is called with, among other things.
    place: TempDir,
}

impl Anvil {
    /// A node of the tests' chain at its usual head.
    pub(crate) async fn start() -> Self {
        Self::start_at(CHAIN, HEAD).await
    }

    pub(crate) async fn start_at(chain: u64, head: u64) -> Self {
        Self::launch_at(Ipv4Addr::LOCALHOST, chain, head, Mining::WhenTold).await
    }

    /// A node that listens at an address that this machine has besides its own.
    #[allow(dead_code, reason = "most suites have all on one machine")]
    pub(crate) async fn start_on(host: Ipv4Addr) -> Self {
        Self::launch_at(host, CHAIN, HEAD, Mining::WhenTold).await
    }

    /// A node that mines each transaction when it comes.
    pub(crate) async fn start_mining() -> Self {
        Self::launch_at(Ipv4Addr::LOCALHOST, CHAIN, HEAD, Mining::EachTransaction).await
    }

    async fn launch_at(host: Ipv4Addr, chain: u64, head: u64, mining: Mining) -> Self {
        let place = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = launch((host, port), chain, head, mining, place.path());
        let node = Self { port, host, chain, mining, child, place };
        node.until_it_answers().await;
        node
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// As `kill -9` does: connections break, new ones are refused.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Stops it in its tracks: connections are accepted, nothing is answered.
    pub(crate) fn freeze(&self) {
        self.child.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub(crate) fn thaw(&self) {
        self.child.signal(Signal::CONT);
    }

    /// Starts it again at the same address and its usual head.
    pub(crate) async fn revive(&mut self) {
        self.child = launch((self.host, self.port), self.chain, HEAD, self.mining, self.place.path());
        self.until_it_answers().await;
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        let before = self.head().await;
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"anvil_mine","params":["{blocks:#x}"]}}"#);
        let answer = self.post(&call).await.unwrap();
        assert_eq!(answer.json()["result"], serde_json::Value::Null, "{}", answer.body);
        assert_eq!(self.head().await, before + blocks);
    }

    pub(crate) async fn head(&self) -> u64 {
        let answer = self.post(&request("eth_blockNumber")).await.unwrap();
        let head = answer.result().expect("a result");
        u64::from_str_radix(head.trim_start_matches("0x"), 16).unwrap()
    }

    /// How often it was called with `method`, by its own account.
    pub(crate) fn calls(&self, method: &str) -> usize {
        let said = fs::read_to_string(self.place.path().join("said")).unwrap();
        said.lines().filter(|line| line.trim() == method).count()
    }

    async fn until_it_answers(&self) {
        until("anvil answers", async || self.post(&request("eth_chainId")).await.ok()).await;
    }

    async fn post(&self, body: &str) -> io::Result<Answer> {
        Connection::open_at((self.host, self.port).into()).await?.post("/", body).await
    }
}

fn launch((host, port): (Ipv4Addr, u16), chain: u64, head: u64, mining: Mining, place: &Path) -> Owned {
    let said = File::options().create(true).append(true).open(place.join("said")).unwrap();
    let child = Command::new(program())
        .args(matches!(mining, Mining::WhenTold).then_some("--no-mining"))
        .args(["--accounts", "1", "--host", &host.to_string()])
        .args(["--port", &port.to_string(), "--chain-id", &chain.to_string(), "--number", &head.to_string()])
        .current_dir(place)
        .stdin(Stdio::null())
        .stderr(said.try_clone().unwrap())
        .stdout(said)
        .spawn()
        .unwrap();
    Owned(child)
}
