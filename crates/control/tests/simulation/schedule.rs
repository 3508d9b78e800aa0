//! Who does what when: runs of the flows side by side, started by a schedule that always comes and by events that may
//! be lost, doubled or late.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use nodeweir_control::probe::Scope;

use crate::edges::{Edges, Part};
use crate::flows::{Flow, Triggers, probe, publish, rollout};
use crate::operators::Act;
use crate::sabotage::Sabotage;
use crate::world::World;

/// A run under way.
struct Active {
    run: u64,
    flow: Flow,
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

impl Play {
    pub(crate) fn new(seed: u64, sabotage: Sabotage) -> Self {
        let world = World::new(seed, sabotage);
        Self { world, active: Vec::new(), runs: 0, due: Vec::new(), last_probe: 0, last_rest: 0, is_deaf: false }
    }

    pub(crate) fn story(&self) -> String {
        self.world.state().story()
    }

    /// Things happen for a while, and then the runs that they cause.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let acts = {
            let mut state = self.world.state();
            let is_long = state.percent(3);
            let seconds = state.rng.u64(if is_long { 100..900 } else { 1..25 });
            state.pass(seconds);
            if state.percent(2) {
                let far = if state.percent(20) { 40_000 } else { 200 };
                let seconds = state.rng.i64(-far..far);
                state.clock.jump(seconds);
                state.tell(|| format!("the wall clock is set by {seconds}s"));
            }
            let ends = state.percent(40);
            let begins = state.trouble.calls > 0 && state.percent(3);
            if ends {
                state.trouble.outage = None;
            } else if begins {
                state.trouble.outage = state.rng.choice(Part::ALL);
                let outage = state.trouble.outage;
                state.tell(|| format!("out of order: {outage:?}"));
            }
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
            if state.percent(15) { state.rng.usize(..40) } else { usize::MAX }
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
        match act {
            Act::Nothing => {}
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
            let share = if state.trouble.is_on { state.trouble.events } else { 0 };
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
        let now = self.world.state().now();
        let edges = Edges { world: self.world.clone(), run: self.runs, now };
        self.world.state().run(self.runs);
        let future: Pin<Box<dyn Future<Output = Triggers> + Send>> = match flow.clone() {
            Flow::Probe(scope) => Box::pin(probe(edges, scope)),
            Flow::Publish => Box::pin(publish(edges)),
            Flow::Rollout => Box::pin(rollout(edges)),
        };
        let precedence = self.world.state().rng.u32(..);
        self.active.push(Active { run: self.runs, flow, precedence, future });
    }

    /// Gives runs their turns, at most so many. What a run leads to starts in the same step, beside the others if
    /// they go side by side.
    fn poll(&mut self, most: usize) {
        let turns = self.world.state().rng.choice([Turns::InOrder, Turns::AtRandom, Turns::ByPrecedence]).unwrap();
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
                let is_on = state.trouble.is_on;
                if is_on && state.per_mille(4) {
                    let seconds = state.rng.u64(1..30);
                    state.pass(seconds);
                }
                let act = (is_on && state.per_mille(6)).then(|| state.operate());
                (index, is_on && state.per_mille(crashes), act)
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
