//! The real flows over a simulated world, driven by one seed.
//!
//! The store, the published object, the service, the nodes and the clock are simulated, on one machine or on AWS. Calls
//! fail before or after they took effect, at once or late; runs die between any two calls, stand still or take turns with
//! others; events are lost, doubled or late; the wall clock is set forward and back; nodes die, lag, flap, fork, lie about
//! head and chain, and so do leaders; people edit the list, roll back, deploy and lay hands on the published object at any
//! moment. After each step the invariants 2 to 5 of `ARCHITECTURE.md` are checked; after the trouble stops, what is published
//! and what runs must become what should be (9), and then nothing may be written any more (5).
//!
//! `SIMULATION_SEED=7` replays one seed and prints its story if it fails; `SIMULATION_SEEDS=20000` plays more than the usual
//! ones, `SIMULATION_FROM=5000` others. A tick is a moment in which anything may happen, some seconds after the one before,
//! now and then minutes; what follows from it happens too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod clock;
mod edges;
mod flows;
mod invariants;
mod nodes;
mod object;
mod operators;
mod quiet;
mod sabotage;
mod schedule;
mod service;
mod settings;
mod store;
mod text;
mod trouble;
mod world;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sabotage::Sabotage;
use schedule::Play;
use trouble::Kind;

/// Seeds that once failed, with what they showed. They depend on every draw, so one that no longer shows its fault
/// after a change of the simulation may go; what it showed has a test of its own.
const REGRESSIONS: [u64; 0] = [];

const USUAL: u64 = 2000;
const TICKS: usize = 500;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// A broken invariant, and what led to it.
struct Failure {
    broken: String,
    ticks: usize,
    story: String,
}

impl Failure {
    /// What is broken, whoever broke it: without numbers.
    fn kind(&self) -> String {
        self.broken.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned()
    }
}

/// Plays a seed and says how long the quiet took to set in.
fn play(seed: u64, sabotage: Sabotage, spared: &[Kind]) -> Result<u64, Failure> {
    let mut play = Play::new(seed, sabotage, spared);
    let mut ticks = 0;
    let mut run = || {
        for _ in 0..TICKS {
            play.tick()?;
            ticks += 1;
        }
        play.converge()
    };
    run().map_err(|broken| Failure { broken, ticks, story: play.story() })
}

/// Plays a seed that fails without each kind of trouble that it does not take, and tells the shortest story found.
fn explain(seed: u64, sabotage: Sabotage, mut failure: Failure) -> String {
    let mut spared = Vec::new();
    for kind in Kind::ALL {
        spared.push(kind);
        match play(seed, sabotage, &spared) {
            Err(other) if other.kind() == failure.kind() => failure = other,
            _ => drop(spared.pop()),
        }
    }
    let Failure { broken, ticks, story } = failure;
    let takes: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !spared.contains(kind)).collect();
    format!(
        "{broken}\n\nseed {seed}, after {ticks} ticks; it takes {takes:?} (SIMULATION_SEED={seed} replays it):\n{story}\n"
    )
}

/// Plays these, on all cores; the longest quiet it took, or the story of one that fails.
fn play_all(seeds: &[u64]) -> Result<u64, String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut longest = 0;
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let took = play(*seed, Sabotage::None, &[]);
            longest = longest.max(took.map_err(|failure| explain(*seed, Sabotage::None, failure))?);
        }
        Ok(longest)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.collect::<Result<Vec<u64>, String>>().map(|took| took.into_iter().max().unwrap_or_default())
    })
}

#[test]
fn invariants_hold_and_everything_converges() {
    let seeds: Vec<u64> = if let Some(seed) = number("SIMULATION_SEED") {
        vec![seed]
    } else {
        let from = number("SIMULATION_FROM").unwrap_or(0);
        let seeds = from..from + number("SIMULATION_SEEDS").unwrap_or(USUAL);
        REGRESSIONS.into_iter().chain(seeds).collect()
    };
    let longest = play_all(&seeds).unwrap_or_else(|story| panic!("{story}"));
    let ticks = seeds.len() * TICKS;
    println!("{} seeds of {TICKS} ticks hold, {ticks} together; the slowest was well {longest} s after", seeds.len());
}

/// One seed is one story: without this a failing seed could not be replayed.
#[test]
fn a_seed_always_plays_the_same() {
    for seed in 0..5 {
        let story = || {
            let mut play = Play::new(seed, Sabotage::None, &[]);
            (0..TICKS / 4).for_each(|_| play.tick().unwrap());
            play.story()
        };
        assert_eq!(story(), story());
    }
}

/// A check that cannot fail shows nothing: each of these worlds breaks a promise that the flows rely on, or has a
/// careless flow, and the invariants must notice within the usual seeds.
#[test]
fn each_sabotage_is_noticed() {
    for sabotage in Sabotage::ALL {
        // What else goes wrong in such a world does not count.
        let is_noticed = |seed: &u64| {
            let failure = play(*seed, sabotage, &[]).err();
            failure.is_some_and(|failure| sabotage.symptoms().iter().any(|symptom| failure.broken.contains(symptom)))
        };
        let seed = (0..USUAL).find(is_noticed);
        println!("{sabotage:?} is noticed by seed {seed:?}");
        assert!(seed.is_some(), "{sabotage:?} was not noticed in {USUAL} seeds");
    }
}

/// A story that fails is told with what it takes, and no more.
#[test]
fn a_failure_is_explained() {
    let failing = (0..USUAL).find_map(|seed| Some((seed, play(seed, Sabotage::ForgottenCordons, &[]).err()?)));
    let (seed, failure) = failing.unwrap();
    let told = explain(seed, Sabotage::ForgottenCordons, failure);
    assert!(told.contains("is cordoned") && told.contains("operator cordons"), "{told}");
    let takes = told.lines().find(|line| line.starts_with("seed")).unwrap_or_default();
    assert!(takes.contains("Edits") && !takes.contains("Crashes"), "{told}");
}
