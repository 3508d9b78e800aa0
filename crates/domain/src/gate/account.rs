//! The ledger's row of one project and one month.
//!
//! A sidecar does not ask the ledger about each request: it takes a lease, spends from it, and settles now and then.
//! [`Account::settle`] does all of it in one step: what was spent is booked, what the sidecar no longer needs comes
//! back, and the lease is filled up. The functions here are pure. Their caller writes the new account on condition that
//! the row is still the one it read, and after a lost race reads it anew and calls again.
//!
//! **The identity.** `spent + written off + leased + left = granted`, always: `left` is not stored but is what the
//! others leave of `granted`. It goes below zero only by what sidecars overdrew while they could not reach the ledger
//! ([`Rules::overdraft`]); then nothing is leased until it is above zero again.
//!
//! **Nothing counts twice.** Reports of a sidecar are numbered, and the row keeps the last number that it booked for
//! each. A report whose write succeeded and whose answer was lost is sent again as it was, and is only answered. When
//! a sidecar comes back after more than an hour and its lease was forgotten, what it spent of it stays written off, and
//! an overdraft whose booking was never answered may be booked again: against the project, never against the grant.
//!
//! **Nothing is spent twice.** Each credit that a sidecar may spend is either in its lease or in what was written off
//! of it, so it is not in `left`. A lease never shrinks under its holder: it does so only by what the holder reports to
//! have spent or no longer keeps ([`Report::keep`]).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::gate::period::Period;
pub use crate::gate::project::ProjectId;
pub use crate::name::SidecarId;

/// How long a lease may be spent from. Sidecars settle every 5 s, so that five tries may fail before one stops
/// spending; and a lease is about 10 s of spending, so that a busy one is used up before.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long after its end a lease is written off. Whoever writes it off goes by a clock of its own, and clocks may be a
/// minute apart. Doing it too early would lose nothing (a late report puts it right), but show losses that are none.
pub const GRACE: Duration = Duration::from_secs(60);

/// How long after its end an empty lease is remembered at least, so that what its holder reports late or again is
/// booked right. Rows must not grow with each sidecar that ever ran in a month; see [`Rules::remember`].
pub const REMEMBER: Duration = Duration::from_secs(3600);

/// What leases a project gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// With less than this left there are no leases ahead of spending: each request's cost is taken from the ledger
    /// before it passes.
    pub direct_below: u64,
    /// What all sidecars together may spend beyond their leases while they cannot reach the ledger. Each has an equal
    /// share between two answers of the ledger, and none after an answer that nothing is left; so what is spent exceeds
    /// what is granted by at most one share for each sidecar that was started in the month. What a sidecar overdrew
    /// and took with it in a crash is booked nowhere.
    pub overdraft: u64,
    /// How many leases a row holds at least before empty ones are forgotten, the oldest first.
    pub remember: usize,
}

impl Rules {
    /// The rules for a monthly grant, of which `overdraft_percent` may be overdrawn.
    ///
    /// Direct charging costs a write per request, so at most 1,000 of them a month, and it begins late enough that a
    /// share of what is left would be too small to be worth a lease. 16 leases are all that most installations ever
    /// have at a time, and keep a row near a kilobyte, which is what a store may charge a write by.
    pub fn of(monthly_grant: u64, overdraft_percent: u8) -> Self {
        let overdraft = u128::from(monthly_grant) * u128::from(overdraft_percent) / 100;
        Self { direct_below: 1000, overdraft: u64::try_from(overdraft).unwrap_or(u64::MAX), remember: 16 }
    }
}

/// What one sidecar holds of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The number of the last report that was booked.
    pub number: u64,
    /// Credits that it may spend, or has spent and not reported.
    pub amount: u64,
    /// Credits of the same kind that were written off since its last report: it did not report in time.
    pub written_off: u64,
    /// When it must not be spent from any more.
    pub until: Timestamp,
    /// Whether that report was about a lease that was forgotten; its answer says so, as often as it is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_forgotten: bool,
}

/// One project's credits in one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose.
    pub project: ProjectId,
    /// For which month.
    pub period: Period,
    /// Credits granted: the monthly grant and what was added.
    pub granted: u64,
    /// Credits that requests cost, refunds taken off.
    pub spent: u64,
    /// Credits whose holders never said what they did with them; they count as spent.
    pub written_off: u64,
    /// Who holds what, or reported of late.
    pub leases: BTreeMap<SidecarId, Lease>,
}

/// What a sidecar did since its last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Larger than that of any earlier report of this sidecar for this account.
    pub number: u64,
    /// Credits spent from what was leased.
    pub leased: u64,
    /// Credits spent beyond it, the ledger being out of reach.
    pub over: u64,
    /// Credits of requests that were charged and then failed upstream.
    pub refunded: u64,
    /// What it may go on spending before it hears the answer. The rest of its lease it has given up for good.
    pub keep: u64,
}

/// What a sidecar would like to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The costs of the requests that wait for this, in the order in which they came.
    pub waiting: &'a [u64],
    /// Credits spent in the last 10 s.
    pub recent: u64,
    /// How many sidecars run.
    pub live: NonZeroU32,
}

/// What the ledger answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// To which report.
    pub number: u64,
    /// The lease that was given: what was kept is in it, and so is what was spent of that in the meantime. In a repeated
    /// answer it may have been written off since; reporting about it puts that right.
    pub amount: u64,
    /// How large a lease may be now without a request that waits for it; 0 when charges are direct.
    pub size: u64,
    /// Credits that nobody holds.
    pub left: u64,
    /// Credits not spent and not written off: those left and those leased.
    pub unspent: u64,
    /// This sidecar's share of the overdraft.
    pub overdraft: u64,
    /// Whether the report had been booked before; the account is unchanged and need not be written.
    pub is_repeat: bool,
    /// Whether the lease that the report is about was written off too long ago to be remembered. All of it stays written
    /// off, so nothing that was spent from it is to be reported any more.
    pub is_forgotten: bool,
}

impl Account {
    /// The row of a new month.
    pub fn open(project: ProjectId, period: Period, granted: u64) -> Self {
        Self { project, period, granted, spent: 0, written_off: 0, leases: BTreeMap::new() }
    }

    /// Adds credits to this month.
    #[must_use]
    pub fn grant(mut self, more: u64) -> Self {
        self.granted = self.granted.saturating_add(more);
        self
    }

    /// Credits that sidecars hold.
    pub fn leased(&self) -> u128 {
        self.leases.values().map(|lease| u128::from(lease.amount)).sum()
    }

    /// Credits that nobody holds. Below zero if the project was overdrawn. Wide enough for whatever stands in a row.
    pub fn left(&self) -> i128 {
        self.unspent().saturating_sub_unsigned(self.leased())
    }

    /// Credits that may be leased or charged now.
    pub fn available(&self) -> u64 {
        at_least_zero(self.left())
    }

    fn unspent(&self) -> i128 {
        i128::from(self.granted) - i128::from(self.spent) - i128::from(self.written_off)
    }

    /// Counts as spent what sidecars hold whose lease ended [`GRACE`] ago, and says how much that was.
    ///
    /// Each settling does this too, so it is needed only where nobody settles any more.
    #[must_use]
    pub fn write_off(mut self, now: Timestamp) -> (Self, u64) {
        let mut sum = 0_u64;
        for lease in self.leases.values_mut().filter(|lease| lease.amount > 0 && now > after(lease.until, GRACE)) {
            lease.written_off = lease.written_off.saturating_add(lease.amount);
            sum = sum.saturating_add(std::mem::take(&mut lease.amount));
        }
        self.written_off = self.written_off.saturating_add(sum);
        (self, sum)
    }

    /// Books a sidecar's report and leases it what it may have.
    ///
    /// - A lease grows to at most what was spent in the last 10 s and at most an equal share, among the live sidecars,
    ///   of half of what is left with it.
    /// - It grows to what waiting requests cost, whatever these bounds say: each that what is left covers, one after
    ///   the other. With less than [`Rules::direct_below`] left only such leases are given, which is direct charging:
    ///   the ledger is asked before each request, and it passes if its cost is left.
    /// - Nothing waiting, nothing spent of late and nothing kept gives the lease back.
    /// - Refunds are taken off what was spent, and are never more than that.
    /// - A report about a lease that was written off puts it right: what was spent of it moves to `spent`, what is kept
    ///   is leased again, and the rest is left again. That is safe, as the holder itself says which is which, has given
    ///   up the rest before it spoke, and reports each credit once.
    /// - When the month has ended (by the clock of who settles), reports still count; leases and refunds ended with it.
    #[must_use]
    pub fn settle(
        mut self,
        sidecar: &SidecarId,
        report: &Report,
        ask: Ask<'_>,
        rules: &Rules,
        now: Timestamp,
    ) -> (Self, Terms) {
        let has_ended = now >= self.period.ends();
        if let Some(lease) = self.leases.get(sidecar).filter(|lease| lease.number >= report.number) {
            let given = lease.amount.saturating_add(lease.written_off);
            let amount = if lease.number == report.number { given } else { 0 };
            let is_forgotten = lease.was_forgotten;
            let size = if has_ended { 0 } else { size(self.available().saturating_add(amount), ask, rules) };
            let terms = self.terms(report.number, amount, size, ask, rules);
            return (self, Terms { is_repeat: true, is_forgotten, ..terms });
        }
        self.forget(sidecar, rules, now);
        let lease = self.leases.remove(sidecar);
        let is_forgotten = lease.is_none() && (report.leased > 0 || report.keep > 0);
        let (amount, written_off) = lease.map_or((0, 0), |lease| (lease.amount, lease.written_off));
        // Whose lease is forgotten has its spending from it in `written_off`, where it stays.
        let leased = if is_forgotten { 0 } else { report.leased };
        let spent = leased.saturating_add(report.over);
        let kept = amount.saturating_add(written_off).saturating_sub(leased).min(report.keep);

        (self, _) = self.write_off(now);
        self.written_off = self.written_off.saturating_sub(written_off);
        self.spent = self.spent.saturating_add(spent);
        if !has_ended {
            self.spent = self.spent.saturating_sub(report.refunded);
        }
        let balance = self.available();
        let size = if has_ended { 0 } else { size(balance, ask, rules) };
        let wanted = if has_ended { 0 } else { size.max(covered(balance, ask.waiting)) };
        let amount = wanted.max(kept);
        let until = if amount > 0 { after(now, LEASE) } else { now };
        let lease = Lease { number: report.number, amount, written_off: 0, until, was_forgotten: is_forgotten };
        self.leases.insert(sidecar.clone(), lease);
        let terms = self.terms(report.number, amount, size, ask, rules);
        (self, Terms { is_forgotten, ..terms })
    }

    /// Forgets the oldest empty leases that may be, but not `sidecar`'s.
    fn forget(&mut self, sidecar: &SidecarId, rules: &Rules, now: Timestamp) {
        while self.leases.len() > rules.remember {
            let may_go = |(id, lease): &(&SidecarId, &Lease)| {
                lease.amount == 0 && now > after(lease.until, REMEMBER) && *id != sidecar
            };
            let oldest = self.leases.iter().filter(may_go).min_by_key(|(_, lease)| lease.until);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
            self.leases.remove(&oldest);
        }
    }

    fn terms(&self, number: u64, amount: u64, size: u64, ask: Ask<'_>, rules: &Rules) -> Terms {
        Terms {
            number,
            amount,
            size,
            left: self.available(),
            unspent: at_least_zero(self.unspent()),
            overdraft: rules.overdraft / u64::from(ask.live.get()),
            is_repeat: false,
            is_forgotten: false,
        }
    }
}

/// How much may be leased ahead of spending when `balance` is left or already the asker's.
fn size(balance: u64, ask: Ask<'_>, rules: &Rules) -> u64 {
    if balance < rules.direct_below {
        return 0;
    }
    ask.recent.min(balance / (2 * u64::from(ask.live.get())))
}

/// What those of `waiting` cost that `balance` covers, one after the other.
fn covered(balance: u64, waiting: &[u64]) -> u64 {
    let add = |sum: u64, cost: &u64| sum.checked_add(*cost).filter(|sum| *sum <= balance).unwrap_or(sum);
    waiting.iter().fold(0, add)
}

fn after(time: Timestamp, passed: Duration) -> Timestamp {
    time.checked_add(passed).unwrap_or(Timestamp::MAX)
}

fn at_least_zero(credits: i128) -> u64 {
    u64::try_from(credits.max(0)).unwrap_or(u64::MAX)
}
