//! Who does what when: runs of the flows side by side, started by a schedule that always comes and by events that may
//! be lost, doubled or late. On one machine edits start the flows; on AWS they come through a stream, whose batches are sent
//! again when they fail, and a run that takes too long is ended.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use nodeweir_control::probe::Scope;

use crate::edges::Edges;
use crate::flows::{Flow, Triggers, batch, probe, publish, rollout};
use crate::operators::Act;
use crate::sabotage::Sabotage;
use crate::trouble::Kind;
use crate::world::World;

/// A run under way.
struct Active {
    run: u64,
    flow: Flow,
    /// By the time that truly passes.
    began: u64,
    /// Where runs go by precedence, the highest has the turn.
    precedence: u32,
    future: Pin<Box<dyn Future<Output = Triggers> + Send>>,
}

/// Whose turn it is among runs side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// One run after the other.
    InOrder,
    /// Anybody's.
    AtRandom,
    /// One goes on until its luck changes, so that others stand still for long at whatever they were about to do.
    ByPrecedence,
}

pub(crate) struct Play {
    pub(crate) world: World,
    active: Vec<Active>,
    runs: u64,
    /// By the time that truly passes.
    due: Vec<(u64, Flow)>,
    last_probe: u64,
    last_rest: u64,
    /// Whether events get lost, all of them: then the schedule must do.
    pub(crate) is_deaf: bool,
}

const PROBE_EVERY: u64 = 60;
const REST_EVERY: u64 = 300;

/// How long a function may run on AWS, in seconds.
const LONGEST_RUN: u64 = 60;

impl Play {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, spared: &[Kind]) -> Self {
        let (world, active, due) = (World::new(seed, sabotage, spared), Vec::new(), Vec::new());
        Self { world, active, runs: 0, due, last_probe: 0, last_rest: 0, is_deaf: false }
    }

    pub(crate) fn story(&self) -> String {
        self.world.state().story()
    }

    /// Things happen for a while, and then the runs that they cause.
    pub(crate) fn tick(&mut self) -> Result<(), String> {
        let acts = {
            let mut state = self.world.state();
            let is_long = state.percent(3);
            let seconds = state.rng.u64(if is_long { 100..900 } else { 1..25 });
            state.pass(seconds);
            state.set_clock();
            state.change_outage();
            if state.percent(25) {
                state.change_weather();
            }
            if state.percent(35) { vec![state.operate()] } else { Vec::new() }
        };
        for act in acts {
            self.follow(act);
        }
        self.start_due();
        // Some runs take so long that much else happens meanwhile.
        let patience = {
            let mut state = self.world.state();
            let (is_short, turns) = (state.percent(15), state.rng.usize(..40));
            if is_short && state.is_troubled_by(Kind::Pauses) { turns } else { usize::MAX }
        };
        self.poll(patience);
        self.world.state().check()
    }

    /// Ten seconds in which nothing happens but what was begun.
    pub(crate) fn quiet_step(&mut self) -> Result<(), String> {
        self.world.state().pass(10);
        self.start_due();
        self.poll(usize::MAX);
        self.world.state().check()
    }

    /// Whether the schedule came in this very step.
    pub(crate) fn just_rested(&self) -> bool {
        self.last_rest == self.world.state().clock.elapsed
    }

    fn follow(&mut self, act: Act) {
        let is_local = self.world.state().settings.is_local;
        match act {
            Act::Nothing => {}
            Act::Edited(_) if !is_local => self.trigger(0, [Flow::Batch { is_edit: true, tries: 1 }]),
            Act::Edited(network) => {
                let scope = network.map(|network| Flow::Probe(Scope::Networks([network].into())));
                self.trigger(0, [Flow::Publish].into_iter().chain(scope));
            }
            Act::Pinned => self.trigger(0, [Flow::Publish]),
            Act::Damaged => self.trigger(0, [Flow::Rollout]),
        }
    }

    /// Events: usually prompt, sometimes lost, doubled or late.
    fn trigger(&mut self, after: u64, flows: impl IntoIterator<Item = Flow>) {
        for flow in flows {
            let mut state = self.world.state();
            let share = if state.is_troubled_by(Kind::BadEvents) { state.trouble.events } else { 0 };
            if self.is_deaf || state.percent(share) {
                continue;
            }
            let late = if state.percent(share) { state.rng.u64(..200) } else { 0 };
            let at = state.clock.elapsed + after + late;
            if state.percent(share / 2) {
                self.due.push((at, flow.clone()));
            }
            self.due.push((at, flow));
        }
    }

    /// Starts every flow that is due, by an event or by the schedule.
    fn start_due(&mut self) {
        let (now, ended) = {
            let mut state = self.world.state();
            (state.clock.elapsed, std::mem::take(&mut state.service.ended))
        };
        (0..ended).for_each(|_| self.trigger(0, [Flow::Rollout]));
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        let mut flows: Vec<Flow> = due.into_iter().map(|(_, flow)| flow).collect();
        if now - self.last_probe >= PROBE_EVERY {
            self.last_probe = now;
            flows.push(Flow::Probe(Scope::All));
        }
        if now - self.last_rest >= REST_EVERY {
            self.last_rest = now;
            if self.world.state().sabotage != Sabotage::NoSchedule {
                flows.extend([Flow::Publish, Flow::Rollout]);
            }
        }
        for flow in flows {
            self.start(flow);
        }
    }

    fn start(&mut self, flow: Flow) {
        self.runs += 1;
        let (now, began) = {
            let state = self.world.state();
            (state.now(), state.clock.elapsed)
        };
        let edges = Edges { world: self.world.clone(), run: self.runs, now };
        self.world.state().run(self.runs);
        let future: Pin<Box<dyn Future<Output = Triggers> + Send>> = match flow.clone() {
            Flow::Probe(scope) => Box::pin(probe(edges, scope)),
            Flow::Publish => Box::pin(async { publish(edges).await.unwrap_or_default() }),
            Flow::Rollout => Box::pin(rollout(edges)),
            Flow::Batch { is_edit, tries } => Box::pin(batch(edges, is_edit, tries)),
        };
        let precedence = self.world.state().rng.u32(..);
        self.active.push(Active { run: self.runs, flow, began, precedence, future });
    }

    /// Gives runs their turns, at most so many. What a run leads to starts in the same step, beside the others if
    /// they go side by side.
    fn poll(&mut self, most: usize) {
        let turns = {
            let mut state = self.world.state();
            let turns = state.rng.choice([Turns::InOrder, Turns::AtRandom, Turns::ByPrecedence]).unwrap();
            if state.trouble.spared.contains(&Kind::SideBySide) { Turns::InOrder } else { turns }
        };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..most {
            if self.active.is_empty() || turns != Turns::InOrder {
                self.start_prompt();
            }
            if self.active.is_empty() {
                return;
            }
            let (index, dies, act) = {
                let mut state = self.world.state();
                let index = match turns {
                    Turns::InOrder => 0,
                    Turns::AtRandom => state.rng.usize(..self.active.len()),
                    Turns::ByPrecedence => {
                        let first = self.active.iter().enumerate().max_by_key(|(_, run)| run.precedence);
                        first.map_or(0, |(index, _)| index)
                    }
                };
                if state.percent(10) {
                    self.active[index].precedence = state.rng.u32(..);
                }
                let crashes = state.trouble.crashes;
                let (is_on, is_slow, seconds) = (state.trouble.is_on, state.per_mille(4), state.rng.u64(1..30));
                if is_slow && state.is_troubled_by(Kind::Pauses) {
                    state.pass(seconds);
                }
                let act = (is_on && state.per_mille(6)).then(|| state.operate());
                let dies = state.per_mille(crashes) && state.is_troubled_by(Kind::Crashes);
                let took = state.clock.elapsed - self.active[index].began;
                (index, dies || (took >= LONGEST_RUN && !state.settings.is_local), act)
            };
            if let Some(act) = act {
                self.follow(act);
            }
            if dies {
                let Active { run, flow, .. } = self.active.remove(index);
                let mut state = self.world.state();
                state.runs.remove(&run);
                state.tell(|| format!("run {run} of {flow:?} dies"));
            } else if let Poll::Ready(triggers) = self.active[index].future.as_mut().poll(&mut context) {
                let Active { run, .. } = self.active.remove(index);
                self.world.state().runs.remove(&run);
                for (after, flow) in triggers {
                    self.trigger(after, [flow]);
                }
            }
        }
    }

    fn start_prompt(&mut self) {
        let now = self.world.state().clock.elapsed;
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        for (_, flow) in due {
            self.start(flow);
        }
    }
}
