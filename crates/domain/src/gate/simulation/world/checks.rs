//! What must hold in the simulated world.

use jiff::SignedDuration;

use super::{RULES, Row, World};
use crate::gate::account::{Account, Ask, GRACE, LEASE, Report, Terms};
use crate::gate::purse::Standing;

impl World {
    /// What must hold after each step.
    pub(in crate::gate::simulation) fn check(&self) {
        let is_remembered = self.truth.values().all(|truth| truth.forgotten + truth.twice == 0);
        assert!(is_remembered || self.rules.remember < self.born as usize);
        for (period, truth) in &self.truth {
            let Some(Row { account, .. }) = self.rows.get(period) else { continue };
            let leased: u64 = account.leases.values().map(|lease| lease.amount).sum();
            let left = i128::from(account.granted) - i128::from(account.spent + account.written_off + leased);
            assert_eq!(account.left(), left);
            assert!(account.leases.values().map(|lease| lease.written_off).sum::<u64>() <= account.written_off);

            // Each credit is booked once, or will be.
            let (mut spent, mut refunded) = (account.spent + truth.lost + truth.forgotten, truth.vanished);
            for sidecar in &self.sidecars {
                let Some(purse) = sidecar.purses.get(period) else { continue };
                let unbooked = self.unbooked(&sidecar.id, *period, purse);
                spent += unbooked.leased + unbooked.over;
                refunded += unbooked.refunded;
                // What may be spent without asking is nobody else's.
                let lease = account.leases.get(&sidecar.id);
                let covered = lease.map_or(0, |lease| lease.amount + lease.written_off);
                let free = purse.look(1, self.nanos()) == Standing::Enough;
                let is_forgotten = lease.is_none_or(|lease| lease.was_forgotten) && !free;
                assert!(is_forgotten || purse.held() + unbooked.leased <= covered, "{purse:?} {lease:?}");
                assert!(purse.overdrawn() <= self.overdraft());
            }
            assert_eq!(truth.admitted + refunded + truth.twice, spent + truth.refunded, "{account:?} {truth:?}");

            // Nobody gets more than was granted and the overdraft.
            let most = account.granted + truth.purses * self.overdraft();
            assert!(truth.admitted + truth.vanished <= most + truth.refunded, "{account:?} {truth:?}");
            assert!(account.left() >= -i128::from(truth.purses * self.overdraft() + truth.twice), "{account:?}");
        }
    }

    /// The ledger is back, everybody runs, and nobody asks for anything for 5 s.
    pub(in crate::gate::simulation) fn calm_down(&mut self) {
        self.is_away = false;
        self.sidecars.iter_mut().for_each(|sidecar| sidecar.is_paused = false);
        for _ in 0..25 {
            self.tick();
            self.check();
            self.pass(200);
        }
    }

    /// What must hold after that.
    pub(in crate::gate::simulation) fn check_quiet(&mut self) {
        for who in 0..self.sidecars.len() {
            let sidecar = &self.sidecars[who];
            for (period, purse) in &sidecar.purses {
                assert!(purse.is_settled(), "{purse:?}");
                let lease = self.rows.get(period).and_then(|row| row.account.leases.get(&sidecar.id));
                assert_eq!(lease.map_or(0, |lease| lease.amount + lease.written_off), 0);
            }
        }
    }

    /// Whoever asks for what is left gets it, all of it and no more.
    pub(in crate::gate::simulation) fn check_no_false_refusal(&mut self) {
        for who in 0..self.sidecars.len() {
            let period = self.period(who);
            if self.wall(who).checked_add(SignedDuration::from_secs(1)).unwrap() >= period.ends() {
                continue;
            }
            let left = self.row(period).account.available();
            assert_eq!(self.request(who, left + 1), Some(Standing::Short));
            for cost in [left / 2, left - left / 2] {
                assert_eq!(self.request(who, cost), Some(Standing::Enough), "{cost} of {left}");
                self.check();
            }
            self.refund(who, left);
            self.calm_down();
            self.check_quiet();
            // A refund that comes after the month's end is lost.
            assert!(self.period(who) != period || self.row(period).account.available() == left);
        }
    }

    /// When the leases of those that crashed have ended too, all that was granted is spent, written off or left.
    pub(in crate::gate::simulation) fn check_end(&mut self) {
        self.pass(u64::try_from((LEASE + GRACE).as_millis()).unwrap() + 130_000);
        self.write_off();
        self.check();
        for (period, row) in &self.rows {
            let (account, truth) = (&row.account, self.truth.get(period));
            assert_eq!(account.leased(), 0);
            assert_eq!(i128::from(account.spent + account.written_off) + account.left(), i128::from(account.granted));
            let Some(truth) = truth else { continue };
            let nobody_crashed = self.born as usize == self.sidecars.len();
            if nobody_crashed && self.rules.remember >= self.sidecars.len() {
                let long = account.written_off;
                assert_eq!(long, 0, "written off, although everybody is back");
                assert_eq!(account.spent, truth.admitted + truth.vanished + truth.twice - truth.refunded);
            }
        }
    }
}

/// A lease is within its bounds when it is given, and covers the one request that waits, if anything can.
pub(super) fn lease(after: &Account, report: &Report, ask: Ask<'_>, terms: &Terms, has_ended: bool) {
    if terms.is_repeat {
        return;
    }
    let balance = u64::try_from(after.left() + i128::from(terms.amount)).unwrap_or(0);
    let share = balance / 2 / u64::from(ask.live.get());
    let ahead = if has_ended || balance < RULES.direct_below { 0 } else { ask.recent.min(share) };
    let waiting = ask.waiting.iter().sum::<u64>();
    let covered = if has_ended || waiting > balance { 0 } else { waiting };
    assert!(terms.amount <= ahead.max(covered).max(report.keep), "{after:?} {report:?} {ask:?} {terms:?}");
    assert!(terms.amount >= ahead.max(covered), "{after:?} {report:?} {ask:?} {terms:?}");
}
