//! A fault is played: it begins, it is noticed, it lasts, it ends; and what clients saw of it is held against what the
//! design promises.

use std::time::Instant;

use crate::load::{Call, Failure, failures};
use crate::table::{Right, Row};
use crate::world::{ALL, World};

/// Calls that a fault lasts for after everything is as it should be, and that are looked at after its end.
const LASTS: u64 = 150;

/// What is expected of a fault.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) serves: Serves,
    pub(crate) fails: Fails,
}

/// Who should serve while it lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Serves {
    These(&'static [&'static str]),
    /// Nothing may be published on its account.
    AsBefore,
    /// The same, and what was killed is replaced at once, for which the fault's beginning waits; nothing is left to end.
    Replaced,
    /// It comes and goes between two looks, so that its node may be in or out.
    Either,
}

/// Which calls may fail.
#[derive(Debug, Clone)]
pub(crate) enum Fails {
    Never,
    /// In these ways, until what runs is right. A connection that clients keep may have one more call answered by the
    /// process before, by what was right then.
    UntilRight(Vec<Failure>),
    /// In these ways, until everything is as before.
    WhileItLasts(Vec<Failure>),
}

impl World {
    /// Plays a fault from `begin` to `end`; in between it lasts until `notice` has seen what it waits for, until each call
    /// has ended that began before, and for some calls more.
    pub(crate) async fn play(
        &mut self,
        fault: Fault,
        begin: impl AsyncFnOnce(&mut Self),
        notice: impl AsyncFnOnce(&mut Self),
        end: impl AsyncFnOnce(&mut Self),
    ) {
        let Fault { name, serves, fails } = fault;
        let revision = self.published().map(|(_, name)| name);
        let (first, began) = (self.load.begun(), Instant::now());
        begin(self).await;
        let right = match serves {
            Serves::These(names) => {
                self.until_it_runs(names).await;
                Right::After(began.elapsed())
            }
            Serves::Replaced => {
                self.until_it_runs(&ALL).await;
                Right::After(began.elapsed())
            }
            Serves::AsBefore => Right::Unchanged,
            Serves::Either => Right::Either,
        };
        let (settled, kept) = (self.load.begun(), self.load.connections());
        notice(self).await;
        self.load.since(first).await;
        self.load.goes_on(LASTS).await;
        if matches!(serves, Serves::AsBefore | Serves::Replaced) {
            assert_eq!(self.published().map(|(_, name)| name), revision, "{name}: published anew");
        }

        let ended = Instant::now();
        end(self).await;
        self.until_it_runs(&ALL).await;
        let back = (!matches!(serves, Serves::Replaced)).then(|| ended.elapsed());
        self.load.until_answered().await;
        let (over, left) = (self.load.begun(), self.load.connections());
        self.rig.until_all_is_well(ALL).await;
        self.load.goes_on(LASTS).await;

        let calls = self.load.since(first).await;
        let failures_from = |number| failures(calls.iter().filter(|call| call.number >= number));
        let may = match &fails {
            Fails::Never => &[][..],
            Fails::UntilRight(kinds) | Fails::WhileItLasts(kinds) => kinds,
        };
        let failed = failures_from(first);
        let who = format!("{}: {name}", self.kind);
        assert!(failed.keys().all(|kind| may.contains(kind)), "{who}: of {} calls failed {failed:?}", calls.len());
        let late: usize = match fails {
            Fails::Never => 0,
            Fails::UntilRight(_) => failures_from(settled).values().sum::<usize>().saturating_sub(kept),
            Fails::WhileItLasts(_) => failures_from(over).values().sum::<usize>().saturating_sub(left),
        };
        assert_eq!(late, 0, "{who}: so many calls failed that were made when all was right");
        let failing = calls.iter().filter(|call| call.outcome.is_err());
        let last = failing.map(|call| call.began.saturating_duration_since(began)).max();
        let slowest = calls.iter().map(|call: &Call| call.took).max().unwrap_or_default();
        let row = Row { fault: name, right, back, calls: calls.len(), failures: failed, last, slowest };
        println!("{}: {}", self.kind, row.text());
        self.rows.push(row);
    }
}

/// Nothing to wait for.
pub(crate) async fn at_once(_: &mut World) {}
