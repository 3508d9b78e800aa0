//! The simulated world as a whole: what is true, what is stored, what runs, and what was done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::judge::Health;
use nodeweir_domain::fleet::node::{Item, Listed};
use nodeweir_domain::fleet::pin::Pin;
use nodeweir_domain::name::NetworkId;

use crate::clock::Clock;
use crate::invariants::Ledger;
use crate::nodes::Machines;
use crate::object::{Bucket, Object};
use crate::sabotage::Sabotage;
use crate::service::{Deployments, Process};
use crate::settings::Settings;
use crate::store::Table;
use crate::trouble::{Kind, Trouble};

/// What a run did and read so far. What it publishes must agree with what it read, whatever changed since.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// Whether one of its calls failed.
    pub(crate) met_fault: bool,
    /// Whether anybody else changed anything since it began.
    pub(crate) was_disturbed: bool,
    /// How many calls it had made when it last read the object, and what that was.
    pub(crate) object: Option<(u32, Option<Arc<Object>>)>,
    /// The same for the node list, as it was and as far as it was usable.
    pub(crate) items: Option<(u32, Vec<Item>, Arc<Listed>)>,
    pub(crate) health: BTreeMap<NetworkId, Health>,
    pub(crate) pin: Option<Pin>,
    /// Whether any node answered it.
    pub(crate) got_answer: bool,
    /// The networks whose tick it tried to store.
    pub(crate) ticked: BTreeSet<NetworkId>,
    /// How often somebody else's put came before its own.
    pub(crate) overtaken: u32,
    /// Reads so far, for their order.
    pub(crate) reads: u32,
}

/// Writes that a run without news must not make. Noting the latest observations is not one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    pub(crate) items: u32,
    pub(crate) statuses: u32,
    pub(crate) pins: u32,
    pub(crate) revisions: u32,
    pub(crate) events: u32,
    pub(crate) puts: u32,
    pub(crate) deployments: u32,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) settings: Settings,
    pub(crate) sabotage: Sabotage,
    pub(crate) rng: fastrand::Rng,
    pub(crate) clock: Clock,
    pub(crate) trouble: Trouble,
    pub(crate) machines: Machines,
    pub(crate) table: Table,
    pub(crate) bucket: Bucket,
    pub(crate) process: Process,
    pub(crate) service: Deployments,
    pub(crate) ledger: Ledger,
    pub(crate) writes: Writes,
    /// Every run under way.
    pub(crate) runs: BTreeMap<u64, Record>,
    /// What each flow's last run came to.
    pub(crate) said: BTreeMap<&'static str, String>,
    story: VecDeque<String>,
}

/// Shared by all edges.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, spared: &[Kind]) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut settings = Settings::draw(&mut rng);
        // Elsewhere the time between two deployments hides it.
        settings.is_local |= sabotage == Sabotage::LateState;
        let trouble = Trouble::draw(&mut rng, spared);
        Self(Arc::new(Mutex::new(State {
            config: Arc::new(settings.config()),
            machines: Machines::new(),
            settings,
            sabotage,
            rng,
            clock: Clock::new(),
            trouble,
            table: Table::default(),
            bucket: Bucket::default(),
            process: Process::default(),
            service: Deployments::default(),
            ledger: Ledger::default(),
            writes: Writes::default(),
            runs: BTreeMap::new(),
            said: BTreeMap::new(),
            story: VecDeque::new(),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The node list as it truly is, as far as it is usable.
    pub(crate) fn listed(&self) -> Arc<Listed> {
        self.ledger.listed(&self.config)
    }

    pub(crate) fn run(&mut self, run: u64) -> &mut Record {
        self.runs.entry(run).or_default()
    }

    /// Something changed, by a run or (`None`) from outside: what other runs read is no longer what is there.
    pub(crate) fn changed(&mut self, by: Option<u64>) {
        for record in self.runs.iter_mut().filter(|(run, _)| Some(**run) != by) {
            record.1.was_disturbed = true;
        }
    }

    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    pub(crate) fn per_mille(&mut self, per_mille: u32) -> bool {
        self.rng.u32(..1000) < per_mille
    }

    /// Adds a line to the story, of which only the end is kept.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        const MOST: usize = 80;
        let (elapsed, wall) = (self.clock.elapsed, self.now().strftime("%H:%M:%S"));
        let line = format!("{elapsed:>6}s {wall} {}", what());
        self.story.push_back(line);
        if self.story.len() > MOST {
            self.story.pop_front();
        }
    }

    pub(crate) fn story(&self) -> String {
        self.story.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Notes that an invariant is broken; the first one counts.
    pub(crate) fn broken(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(|| format!("BROKEN: {what}"));
        self.ledger.broken.get_or_insert(what);
    }

    /// Time passes, and deployments end.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.clock.pass(seconds);
        self.end_deployments();
    }
}
