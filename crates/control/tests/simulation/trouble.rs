//! What can go wrong, and how much of it does.

use crate::edges::{Fate, Part};
use crate::world::State;

/// A kind of trouble. A seed that fails is played again without each of them, to see which it takes: as far as possible
/// chance is drawn as before, and what it says is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Calls that fail before or after they took effect, and that take long to do so.
    FailingCalls,
    /// A part that is out of order as a whole.
    Outages,
    /// Runs that die.
    Crashes,
    /// Runs that stand still for long.
    Pauses,
    /// Runs that take turns with others.
    SideBySide,
    /// Events that are lost, doubled or late.
    BadEvents,
    /// Clocks that are set.
    ClockJumps,
    /// Nodes and leaders that behave badly.
    Nodes,
    /// People who edit the list.
    Edits,
    /// People who roll back.
    Rollbacks,
    /// People who lay hands on the published object.
    Hands,
    /// People who deploy, and deployments that fail.
    Deployments,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::FailingCalls,
        Self::Outages,
        Self::Crashes,
        Self::Pauses,
        Self::SideBySide,
        Self::BadEvents,
        Self::ClockJumps,
        Self::Nodes,
        Self::Edits,
        Self::Rollbacks,
        Self::Hands,
        Self::Deployments,
    ];
}

/// How much goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// Whether anything may at all.
    pub(crate) is_on: bool,
    /// What does not, although it is drawn.
    pub(crate) spared: Vec<Kind>,
    /// Out of a thousand calls, how many fail.
    pub(crate) calls: u32,
    /// Out of a thousand turns of a run, how many are its last.
    pub(crate) crashes: u32,
    /// Out of a hundred events, how many are lost; as many are late, half as many doubled.
    pub(crate) events: u32,
    /// What is out of order as a whole.
    pub(crate) outage: Option<Part>,
}

impl Trouble {
    pub(crate) fn draw(rng: &mut fastrand::Rng, spared: &[Kind]) -> Self {
        Self {
            is_on: true,
            spared: spared.to_vec(),
            calls: *rng.choice(&[0, 5, 20, 60]).unwrap(),
            crashes: *rng.choice(&[0, 2, 10]).unwrap(),
            events: *rng.choice(&[0, 10, 40]).unwrap(),
            outage: None,
        }
    }
}

impl State {
    /// Whether trouble of this kind happens where it is drawn.
    pub(crate) fn is_troubled_by(&self, kind: Kind) -> bool {
        self.trouble.is_on && !self.trouble.spared.contains(&kind)
    }

    pub(crate) fn fate(&mut self, part: Part) -> Fate {
        if !self.trouble.is_on {
            return Fate::Works;
        }
        let calls = self.trouble.calls;
        let (fails, is_late, is_after) = (self.per_mille(calls), self.percent(20), self.rng.bool());
        if self.trouble.outage == Some(part) {
            return Fate::FailsBefore;
        }
        if !(fails && self.is_troubled_by(Kind::FailingCalls)) {
            return Fate::Works;
        }
        if is_late {
            let seconds = self.rng.u64(1..30);
            self.pass(seconds);
        }
        if is_after { Fate::FailsAfter } else { Fate::FailsBefore }
    }

    /// Now and then a part goes out of order, and comes back.
    pub(crate) fn change_outage(&mut self) {
        let (ends, begins, part) = (self.percent(40), self.percent(3), self.rng.choice(Part::ALL));
        if ends {
            self.trouble.outage = None;
        } else if begins && self.trouble.calls > 0 && self.is_troubled_by(Kind::Outages) {
            self.trouble.outage = part;
            self.tell(|| format!("out of order: {part:?}"));
        }
    }

    /// Now and then a clock is set, usually by a little.
    pub(crate) fn set_clock(&mut self) {
        let (is_set, is_far) = (self.percent(2), self.percent(20));
        let far = if is_far { 40_000 } else { 200 };
        let seconds = self.rng.i64(-far..far);
        if is_set && self.is_troubled_by(Kind::ClockJumps) {
            self.clock.jump(seconds);
            self.service.last_start = None;
            self.tell(|| format!("the wall clock is set by {seconds}s"));
        }
    }
}
