//! The same measured again and again while the machine is calm, and what came of it.

use std::fmt;
use std::time::Duration;

use crate::lanes::Lanes;
use crate::machine::{Calm, Share};

/// How long is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Rounds that count, of each case.
    pub(crate) rounds: usize,
    /// Rounds that are tried until so many were calm.
    pub(crate) tries: usize,
    /// How long `wrk` loads one way at a time.
    pub(crate) load: Duration,
    /// How long requests come at a fixed rate.
    pub(crate) paced: Duration,
}

/// What other programs may take of the machine in a round that counts.
const CALM: Share = Share::percent(5);

/// What was measured once, and what others took of the machine meanwhile.
pub(crate) struct Round<T> {
    pub(crate) came: T,
    pub(crate) others: Share,
}

impl Pace {
    /// Measures until enough rounds were calm; without enough of them, all count. `measure` is told how many rounds there
    /// were before, and `tell` of each round too.
    pub(crate) fn rounds<T>(
        self,
        lanes: &Lanes,
        mut measure: impl FnMut(usize) -> anyhow::Result<T>,
        tell: impl Fn(usize, &Round<T>),
    ) -> anyhow::Result<Vec<Round<T>>> {
        let mut rounds: Vec<Round<T>> = Vec::new();
        let is_calm = |round: &Round<T>| round.others <= CALM;
        let is_enough = |rounds: &[Round<T>]| rounds.iter().filter(|round| is_calm(round)).count() >= self.rounds;
        while rounds.len() < self.tries && !is_enough(&rounds) {
            let before = Calm::now(&lanes.pids()?)?;
            let came = measure(rounds.len())?;
            let round = Round { came, others: before.others_since(&lanes.pids()?)? };
            tell(rounds.len(), &round);
            rounds.push(round);
        }
        if is_enough(&rounds) {
            rounds.retain(is_calm);
        }
        Ok(rounds)
    }
}

/// What others took in the worst round.
pub(crate) fn most_of_others<T>(rounds: &[Round<T>]) -> Share {
    rounds.iter().map(|round| round.others).max().unwrap_or_default()
}

/// Several measurements of one thing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }
}

/// Median, least and most, with three decimals or as many as are asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.most)
    }
}
