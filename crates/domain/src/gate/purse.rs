//! What one sidecar may spend of one project's credits in one month, without asking anybody.
//!
//! Its caller keeps one purse per project and month, and
//! - for each request: [`Purse::look`] while it is being decided; [`Purse::spend`] when all else allows it too, without
//!   letting go of the purse in between. On [`Standing::TopUp`] the request waits while one settling runs, and looks
//!   again;
//! - settles when a request waits or [`Purse::needs_settling`] says so, with all of which [`Purse::may_settle`] says it, never
//!   one twice at a time: takes
//!   [`Purse::report`], has the account settle it, and hands the answer to [`Purse::settled`], or says
//!   [`Purse::unreachable`] when there was none. A report without an answer is sent again, the same;
//! - when the month has ended by its clock, or it stops: [`Purse::close`], and settles until [`Purse::is_settled`].
//!   Only then may a purse be dropped, and what takes its place is [`Purse::new`] with a later moment.

mod recent;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::gate::account::{Ask, LEASE, REMEMBER, Report, Terms};
use crate::gate::clock::Nanos;

pub use recent::{RECENT, Recent};

/// When the next report is due. Spending is to be known within 5 s; this leaves half a second to notice and to write.
pub const REPORT_EVERY: Duration = Duration::from_millis(4500);

/// From so long after a report on, another one is made when others are: what a ledger is told together costs one call. At
/// half the time between two, all that are busy end in one group or two, however they began.
pub const TOGETHER: Duration = Duration::from_millis(2250);

/// Without spending for this long, the lease is given back: nobody is to be refused for want of credits that have lain
/// idle elsewhere for 5 s. This too leaves half a second to notice and to write.
pub const IDLE: Duration = Duration::from_millis(4500);

/// How long a request's being told "not enough is left" holds for others before the ledger is asked again: a client
/// without credits costs one call per second, and credits that came back are seen within a second.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long after a failed try the ledger is tried again; requests do not wait for it meanwhile.
pub const RETRY: Duration = Duration::from_secs(1);

/// What a purse says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Passes: it is paid from the lease.
    Enough,
    /// Passes, although the ledger is out of reach: it is paid at least in part from the overdraft.
    Overdraft,
    /// Settle, then look again.
    TopUp,
    /// Does not pass: the ledger said within [`ASK_AGAIN`], asked on behalf of a request, that not enough is left.
    Short,
    /// Does not pass: the ledger is out of reach, and the overdraft is used up or was not given. Nobody knows whether
    /// credits are left.
    Away,
    /// Nothing passes: the month has ended, and the next one's purse is to be asked.
    Closed,
}

impl Standing {
    /// Whether the request may pass.
    pub fn passes(self) -> bool {
        matches!(self, Self::Enough | Self::Overdraft)
    }
}

/// What was spent since the last report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    leased: u64,
    over: u64,
    refunded: u64,
}

/// What the ledger last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    at: Nanos,
    /// Whether a request had asked.
    was_awaited: bool,
    /// The lease then.
    amount: u64,
    size: u64,
    left: u64,
    unspent: u64,
}

/// A report without an answer yet, and when it was first sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    report: Report,
    since: Nanos,
}

/// What one sidecar holds of one project's credits in one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purse {
    /// Credits of the lease that are not spent.
    held: u64,
    /// When they must not be spent any more.
    until: Nanos,
    /// Not in any report.
    tally: Tally,
    pending: Option<Pending>,
    /// The last report's.
    number: u64,
    /// When a report was last sent.
    sent: Nanos,
    heard: Option<Heard>,
    /// When the ledger was last tried in vain; none if it answered since.
    away: Option<Nanos>,
    /// What may be spent beyond leases between two answers of the ledger.
    overdraft: u64,
    recent: Recent,
    /// When it last spent, or was given what requests had waited for.
    active: Nanos,
    /// Whether requests wait for the report on its way.
    is_awaited: bool,
    is_closed: bool,
}

impl Purse {
    /// An empty purse. `overdraft` is this sidecar's share of the project's until the ledger says another. `now` is
    /// later than any at which this sidecar made a purse for the same account.
    pub fn new(overdraft: u64, now: Nanos) -> Self {
        Self {
            held: 0,
            until: now,
            tally: Tally::default(),
            pending: None,
            // Reports of an earlier purse have smaller numbers, since none takes less than a nanosecond.
            number: now.0,
            sent: now,
            heard: None,
            away: None,
            overdraft,
            recent: Recent::new(now),
            active: now,
            is_awaited: false,
            is_closed: false,
        }
    }

    /// Whether a request of this cost may pass; changes nothing.
    pub fn look(&self, cost: u64, now: Nanos) -> Standing {
        if self.is_closed {
            return Standing::Closed;
        }
        let held = self.usable(now);
        if cost <= held {
            return Standing::Enough;
        }
        let heard = self.heard.filter(|heard| heard.was_awaited && !now.is_past(heard.at, ASK_AGAIN));
        // What a report on its way gave up, what is held too long and what was refunded would come back by asking.
        let back = self.held.saturating_add(self.tally.refunded);
        if self.pending.is_none() && heard.is_some_and(|heard| heard.left.saturating_add(back) < cost) {
            return Standing::Short;
        }
        if self.away.is_none() {
            return Standing::TopUp;
        }
        if self.overdrawn().saturating_add(cost - held) <= self.overdraft() {
            Standing::Overdraft
        } else {
            Standing::Away
        }
    }

    /// Spends the cost of a request if it may pass, and nothing otherwise. Says what [`Self::look`] says.
    pub fn spend(&mut self, cost: u64, now: Nanos) -> Standing {
        let standing = self.look(cost, now);
        if standing.passes() && cost > 0 {
            let leased = cost.min(self.usable(now));
            self.held -= leased;
            self.tally.leased = self.tally.leased.saturating_add(leased);
            self.tally.over = self.tally.over.saturating_add(cost - leased);
            self.recent.add(cost, now);
            self.active = self.active.max(now);
        }
        standing
    }

    /// Takes back the cost of a request that was charged and then failed upstream. The ledger gets to know it with the
    /// next report; in a month that has ended it is lost, as it is when the ledger does not answer for half an hour.
    pub fn refund(&mut self, cost: u64) {
        if !self.is_closed {
            self.tally.refunded = self.tally.refunded.saturating_add(cost);
        }
    }

    /// Whether it is time to settle, without a request that waits for it.
    pub fn needs_settling(&self, now: Nanos) -> bool {
        if self.is_settled() {
            return false;
        }
        if let Some(tried) = self.away {
            return now.is_past(tried, RETRY);
        }
        // Below a quarter of the lease, if a new one would be larger. At an even pace the next report comes before.
        let is_low = self.heard.is_some_and(|heard| {
            self.held < heard.amount.div_ceil(4) && heard.amount.min(heard.left) > 0 && heard.size > self.held
        });
        self.is_closed || self.pending.is_some() || is_low || self.is_idle(now) || now.is_past(self.sent, REPORT_EVERY)
    }

    /// Whether to settle now rather than soon, because others are settled now.
    pub fn may_settle(&self, now: Nanos) -> bool {
        self.needs_settling(now) || (self.away.is_none() && !self.is_settled() && now.is_past(self.sent, TOGETHER))
    }

    /// What to send to the ledger: the report that still waits for an answer, or a new one. `waiting` are the costs of
    /// the requests that wait for it, `promised` what those will spend that an earlier answer was for and that have not
    /// looked yet, `live` is how many sidecars run. What is promised stands in `waiting`, too.
    pub fn report<'a>(&mut self, waiting: &'a [u64], promised: u64, live: NonZeroU32, now: Nanos) -> (Report, Ask<'a>) {
        let recent = if self.is_closed || (waiting.is_empty() && self.is_idle(now)) { 0 } else { self.recent.sum(now) };
        self.sent = now;
        self.is_awaited = !waiting.is_empty();
        let report = match &mut self.pending {
            Some(pending) => {
                // It may have been booked and forgotten, and no refund is to be booked twice.
                if now.is_past(pending.since, REMEMBER / 2) {
                    pending.report.refunded = 0;
                }
                pending.report
            }
            None => self.make(recent, promised, now),
        };
        (report, Ask { waiting, recent, live })
    }

    /// The ledger's answer. One to another report than the last is ignored.
    pub fn settled(&mut self, terms: &Terms, now: Nanos) {
        let Some(pending) = self.pending.take_if(|pending| pending.report.number == terms.number) else { return };
        if terms.is_forgotten {
            self.tally.leased = 0;
        }
        self.held = terms.amount.saturating_sub(self.tally.leased);
        self.until = if terms.is_repeat { pending.since } else { self.sent }.plus(LEASE);
        self.overdraft = terms.overdraft;
        self.away = None;
        if self.is_awaited && terms.amount > 0 {
            self.active = self.active.max(now);
        }
        self.heard = Some(Heard {
            at: now,
            was_awaited: self.is_awaited,
            amount: terms.amount,
            size: terms.size,
            left: terms.left,
            unspent: terms.unspent,
        });
    }

    /// The ledger did not answer.
    pub fn unreachable(&mut self, now: Nanos) {
        self.away = Some(now);
    }

    /// Nothing is spent from here on.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether the ledger knows all and nothing is held here.
    pub fn is_settled(&self) -> bool {
        self.held == 0 && self.pending.is_none() && self.tally == Tally::default()
    }

    /// Credits that the project has left, as far as is known here: what the ledger last said, other sidecars' leases
    /// included, less what was spent here since. None if the ledger never answered.
    pub fn remaining(&self) -> Option<u64> {
        let heard = self.heard?;
        let pending = self.pending.map(|pending| pending.report).unwrap_or_default();
        let spent = [self.tally.leased, self.tally.over, pending.leased, pending.over];
        let spent = spent.into_iter().fold(0, u64::saturating_add);
        let refunded = self.tally.refunded.saturating_add(pending.refunded);
        Some(heard.unspent.saturating_add(refunded).saturating_sub(spent))
    }

    /// Makes a report and gives up what it does not say to keep.
    fn make(&mut self, recent: u64, promised: u64, now: Nanos) -> Report {
        self.number = self.number.saturating_add(1);
        // No more than what would be leased anew: nothing when idle, closed or charged directly. But nothing is taken from
        // under those for whom it was asked.
        let size = self.heard.map_or(0, |heard| heard.size);
        let keep = self.usable(now).min(recent.min(size).max(promised));
        self.held = keep;
        let Tally { leased, over, refunded } = std::mem::take(&mut self.tally);
        let report = Report { number: self.number, leased, over, refunded, keep };
        self.pending = Some(Pending { report, since: now });
        report
    }

    fn usable(&self, now: Nanos) -> u64 {
        if now < self.until { self.held } else { 0 }
    }

    /// What was spent beyond leases and is not answered.
    pub(super) fn overdrawn(&self) -> u64 {
        self.tally.over.saturating_add(self.pending.map_or(0, |pending| pending.report.over))
    }

    /// Who was last told that nothing is left gets no overdraft, or each outage would give another.
    fn overdraft(&self) -> u64 {
        if self.heard.is_some_and(|heard| heard.left == 0) { 0 } else { self.overdraft }
    }

    fn is_idle(&self, now: Nanos) -> bool {
        now.is_past(self.active, IDLE)
    }
}

/// What the simulation compares with the accounts.
#[cfg(test)]
impl Purse {
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn unanswered(&self) -> Option<Report> {
        self.pending.map(|pending| pending.report)
    }

    pub(super) fn unreported(&self) -> Report {
        let Tally { leased, over, refunded } = self.tally;
        Report { leased, over, refunded, ..Report::default() }
    }
}
