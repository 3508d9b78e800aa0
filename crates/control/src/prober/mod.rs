//! Asks nodes over HTTP(S), with everything that a hostile node could use bounded: time, bytes, redirects, addresses.

mod clients;
mod failure;
mod question;
mod resolver;
mod stall;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Address, Host, Node, SecretName, resolve};
use nodeweir_domain::fleet::probe::{Answer, Failure, Observation};

use crate::edges::Prober;
use clients::Clients;
use question::Questions;
use stall::Stalls;

pub use clients::ProberError;
pub use resolver::{Lookup, system};

/// How long after a failed try the second one follows.
const PAUSE: Duration = Duration::from_millis(100);

/// A node's answer counts as late only if this program was kept from working for less than this part of the time.
const STARVED: u32 = 4;

/// What a secret's name stands for, if this process was given a value.
pub type Secrets = Arc<dyn Fn(&SecretName) -> Option<String> + Send + Sync>;

/// Secrets from the environment: `${INFURA_KEY}` is the variable `INFURA_KEY`.
pub fn environment() -> Secrets {
    Arc::new(|name| std::env::var(name.as_str()).ok())
}

/// Asks nodes over HTTP(S).
#[derive(Clone)]
pub struct HttpProber {
    clients: Clients,
    client: reqwest::Client,
    timeout: Duration,
    secrets: Secrets,
    stalls: Stalls,
}

impl HttpProber {
    /// A prober under a configuration's rules.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, ProberError> {
        Self::with_lookup(config, secrets, resolver::system())
    }

    /// One that finds names in another way than the system's.
    pub fn with_lookup(config: &Config, secrets: Secrets, lookup: Lookup) -> Result<Self, ProberError> {
        let clients = Clients::new(lookup, config.health.allow_link_local)?;
        Ok(Self {
            client: clients.usual()?,
            clients,
            timeout: config.health.timeout,
            secrets,
            stalls: Stalls::default(),
        })
    }

    /// Asks an address that belongs to no node (yet) for its head and chain id.
    pub async fn probe_address(&self, address: &Address, ask_chain: bool) -> Observation {
        let meter = self.stalls.meter();
        let (began, stalled) = (Instant::now(), meter.stalled());
        let asked = tokio::time::timeout(self.timeout, self.ask_twice(address, ask_chain)).await;
        let latency = began.elapsed();
        let outcome = match asked {
            Ok(outcome) => outcome,
            Err(_) => {
                let is_starved = meter.stalled().saturating_sub(stalled) > self.timeout / STARVED;
                Err(if is_starved { Failure::Starved } else { Failure::Timeout })
            }
        };
        Observation { address: address.clone(), latency, outcome }
    }

    /// A second try forgives a connection that broke at the wrong moment, so that it does not cost a flip.
    async fn ask_twice(&self, address: &Address, ask_chain: bool) -> Result<Answer, Failure> {
        match self.ask(address, ask_chain).await {
            Err(Failure::Refused | Failure::Connection(_) | Failure::Dns | Failure::Status(500..)) => {
                tokio::time::sleep(PAUSE).await;
                self.ask(address, ask_chain).await
            }
            outcome => outcome,
        }
    }

    async fn ask(&self, address: &Address, ask_chain: bool) -> Result<Answer, Failure> {
        let shown = &address.url;
        let (client, url) = match own_name(address) {
            None => (self.client.clone(), shown.to_string()),
            Some(name) => {
                let url = format!("{}://{name}:{}{}", shown.scheme().as_str(), shown.port(), shown.path());
                let client = self.clients.leading_to(shown.host().clone());
                (client.map_err(|error| Failure::Connection(error.to_string()))?, url)
            }
        };
        let values: Vec<_> =
            shown.secrets().filter_map(|name| (self.secrets)(&name).map(|value| (name, value))).collect();
        let value = |name: &SecretName| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let url = resolve(&url, value).map_err(|error| Failure::Secret(error.to_string()))?;
        let questions = Questions { client, url, host: address.host_header(shown), values };
        let head = questions.ask("eth_blockNumber", 1, !ask_chain).await?;
        let chain_id = if ask_chain { Some(questions.ask("eth_chainId", 2, true).await?) } else { None };
        Ok(Answer { head, chain_id })
    }
}

/// The name that a node's certificate must bear, where it is not its URL's: its own Host, because that is what the
/// proxy verifies too, and a node is healthy only if the proxy can use it.
fn own_name(address: &Address) -> Option<&Host> {
    let is_name = |host: &&Host| matches!(host, Host::Name(_)) && *host != address.url.host();
    address.host.as_ref().filter(|_| address.url.scheme().is_tls()).filter(is_name)
}

impl Prober for HttpProber {
    async fn probe(&self, node: &Node, ask_chain: bool) -> Observation {
        self.probe_address(&node.address, ask_chain).await
    }
}
