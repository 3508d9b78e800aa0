//! The simulated machines behind the nodes' addresses, and what probing them sees.

use std::collections::BTreeMap;
use std::time::Duration;

use nodeweir_control::edges::Prober;
use nodeweir_domain::fleet::node::{Node, NodeUrl};
use nodeweir_domain::fleet::probe::{Answer, Failure, Observation};

use crate::edges::{Edges, Fate, Part, turn};
use crate::settings::{BLOCK_MS, NETWORKS};
use crate::trouble::Kind;
use crate::world::State;

/// How a machine behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// At its chain's head.
    InStep,
    /// So many blocks behind it.
    Behind(u64),
    /// At this block for good.
    Stuck(u64),
    /// So many blocks ahead of it, which cannot be.
    Ahead(u64),
    /// Restarted on another chain.
    OtherChain,
    /// At its chain's head, but it answers in time only now and then; in quiet times always.
    Slow,
    /// It follows a branch of its own since it was at this block at this second, which grows half as fast.
    Forked(u64, u64),
    /// Now it answers and now it does not, for so many seconds each.
    Flapping(u64),
    /// It does not answer.
    Down(Failure),
}

/// A machine: whose chain it follows, and how.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// An index into [`NETWORKS`]; an item of another network may name it by mistake.
    pub(crate) chain: usize,
    pub(crate) behaviour: Behaviour,
}

/// All machines, by the URL they answer at.
#[derive(Debug)]
pub(crate) struct Machines(pub(crate) BTreeMap<String, Machine>);

/// How many machines a network has beside its leader.
const OWN: usize = 7;

/// The URL of a network's `index`-th machine, in the forms that the proxies treat differently.
pub(crate) fn url(network: usize, index: usize) -> String {
    match index % 7 {
        5 => format!("https://node-{index}.net-{network}.example"),
        6 => format!("http://node-{index}.net-{network}.example:8545/rpc"),
        _ => format!("http://10.{}.0.{index}:8545", network + 1),
    }
}

/// The configured leaders' URLs, by network.
pub(crate) const LEADERS: [&str; 3] =
    ["https://mainnet.infura.io/v3/${INFURA_KEY}", "https://optimism.alchemy.example/v2", "http://10.3.9.9:8545"];

impl Machines {
    pub(crate) fn new() -> Self {
        let own = (0..NETWORKS.len()).flat_map(|chain| (0..OWN).map(move |index| (url(chain, index), chain)));
        let leaders = LEADERS.into_iter().enumerate().map(|(chain, url)| (url.to_owned(), chain));
        let machine = |(url, chain)| (url, Machine { chain, behaviour: Behaviour::InStep });
        Self(own.chain(leaders).map(machine).collect())
    }

    pub(crate) fn at(&self, url: &NodeUrl) -> Option<&Machine> {
        self.0.get(&url.to_string())
    }

    /// Some URL, usually of `network`, now and then of another one.
    pub(crate) fn any_url(rng: &mut fastrand::Rng, network: usize) -> String {
        let network = if rng.u32(..10) == 0 { rng.usize(..NETWORKS.len()) } else { network };
        url(network, rng.usize(..OWN))
    }
}

impl State {
    /// The highest block of a chain.
    pub(crate) fn head(&self, chain: usize) -> u64 {
        1_000_000 * (chain as u64 + 1) + self.clock.elapsed * 1000 / BLOCK_MS[chain]
    }

    fn chain_id(&self, chain: usize) -> u64 {
        self.config.networks.iter().find(|(id, _)| id.as_str() == NETWORKS[chain]).map_or(0, |(_, n)| n.chain_id)
    }

    /// What a probe of `node` sees now if nothing else goes wrong.
    pub(crate) fn truth(&self, node: &Node, ask_chain: bool) -> Observation {
        let seen = |outcome| Observation { address: node.address.clone(), latency: Duration::from_millis(20), outcome };
        let Some(machine) = self.machines.at(&node.address.url) else { return seen(Err(Failure::Dns)) };
        let (head, id) = (self.head(machine.chain), self.chain_id(machine.chain));
        let (head, id) = match &machine.behaviour {
            Behaviour::Down(failure) => return seen(Err(failure.clone())),
            Behaviour::Flapping(seconds) if self.clock.elapsed / seconds % 2 == 1 => {
                return seen(Err(Failure::Refused));
            }
            Behaviour::InStep | Behaviour::Slow | Behaviour::Flapping(_) => (head, id),
            Behaviour::Forked(..) => (self.forked(machine).unwrap_or(head), id),
            Behaviour::Behind(blocks) => (head.saturating_sub(*blocks), id),
            Behaviour::Stuck(at) => (*at, id),
            Behaviour::Ahead(blocks) => (head + blocks, id),
            Behaviour::OtherChain => (head, id + 7_000),
        };
        seen(Ok(Answer { head, chain_id: ask_chain.then_some(id) }))
    }

    /// The highest block of a machine's own branch.
    fn forked(&self, machine: &Machine) -> Option<u64> {
        let Behaviour::Forked(at, since) = machine.behaviour else { return None };
        Some(at + (self.clock.elapsed - since) * 1000 / (2 * BLOCK_MS[machine.chain]))
    }

    /// Some machine behaves otherwise from now on; leaders too, and more often than their share.
    pub(crate) fn change_weather(&mut self) {
        let (index, is_leader) = (self.rng.usize(..NETWORKS.len()), self.percent(20));
        let url = if is_leader { LEADERS[index].to_owned() } else { url(index, self.rng.usize(..OWN)) };
        let behaviour = match self.rng.u32(..23) {
            0..7 => Behaviour::InStep,
            7..9 => Behaviour::Down(Failure::Refused),
            9 => Behaviour::Down(Failure::Dns),
            10 => Behaviour::Down(Failure::RpcError { code: -32_000, message: "syncing".to_owned() }),
            11 => Behaviour::Down(Failure::Status(503)),
            12..14 => Behaviour::Behind(self.rng.u64(..25)),
            14 => Behaviour::Behind(self.rng.u64(..900_000)),
            15..17 => Behaviour::Stuck(self.head(index)),
            17 => Behaviour::Ahead(self.rng.u64(1..5_000)),
            18 => Behaviour::OtherChain,
            19..21 => Behaviour::Forked(self.head(index), self.clock.elapsed),
            21 => Behaviour::Flapping(self.rng.u64(10..200)),
            _ => Behaviour::Slow,
        };
        if !self.is_troubled_by(Kind::Nodes) {
            return;
        }
        self.tell(|| format!("the machine at {url} is {behaviour:?}"));
        if let Some(machine) = self.machines.0.get_mut(&url) {
            machine.behaviour = behaviour;
        }
    }

    /// What moves comes to rest where it is, so that there is one answer to what should be published.
    pub(crate) fn settle_weather(&mut self) {
        let heads: Vec<u64> = (0..NETWORKS.len()).map(|chain| self.head(chain)).collect();
        let forked: Vec<Option<u64>> = self.machines.0.values().map(|machine| self.forked(machine)).collect();
        for (machine, forked) in self.machines.0.values_mut().zip(forked) {
            let stuck = if let Behaviour::Stuck(at) = machine.behaviour { Some(at) } else { forked };
            if let Some(at) = stuck {
                machine.behaviour = Behaviour::Behind(heads[machine.chain].saturating_sub(at));
            } else if let Behaviour::Flapping(_) = machine.behaviour {
                machine.behaviour = Behaviour::InStep;
            }
        }
    }
}

impl Prober for Edges {
    async fn probe(&self, node: &Node, ask_chain: bool) -> Observation {
        turn().await;
        let mut state = self.world.state();
        let mut observation = state.truth(node, ask_chain);
        let is_slow = state.machines.at(&node.address.url).is_some_and(|m| m.behaviour == Behaviour::Slow);
        if state.fate(Part::Network) != Fate::Works || (is_slow && state.trouble.is_on && state.rng.bool()) {
            observation.outcome = Err(Failure::Timeout);
        }
        // Not everybody hears of a block at the same time.
        if state.trouble.is_on
            && let Ok(answer) = &mut observation.outcome
        {
            answer.head = answer.head.saturating_sub(state.rng.u64(..3));
        }
        state.run(self.run).got_answer |= observation.outcome.is_ok();
        observation
    }
}
