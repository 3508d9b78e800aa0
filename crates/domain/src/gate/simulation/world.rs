//! The world that the simulation changes.

mod checks;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};

use crate::gate::account::{Account, Period, Report, Rules, SidecarId, Terms};
use crate::gate::clock::Nanos;
use crate::gate::purse::{Purse, Standing};

const RULES: Rules = Rules { direct_below: 200, overdraft: 90, remember: 16 };

/// Begins 90 s before a month ends.
const T0: Timestamp = Timestamp::constant(1_796_083_110, 0);

/// How a settling ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// Nothing is written, and nobody answers.
    LostWrite,
    /// It is written, but nobody answers.
    LostAnswer,
    /// Nobody answers, and it may yet be written later.
    Late,
}

/// What really happened in a month, counted apart from all accounts.
#[derive(Debug, Default)]
struct Truth {
    /// Credits of requests that passed.
    admitted: u64,
    /// Credits taken back.
    refunded: u64,
    /// Refunds that came after the month's end, or with a sidecar that crashed, or that no spending stood against.
    vanished: u64,
    /// Spent and not yet booked when the sidecar crashed.
    lost: u64,
    /// Spent from leases that were forgotten; they are in what was written off.
    forgotten: u64,
    /// Overdraft that was booked a second time after more than an hour without an answer.
    twice: u64,
    /// Purses that there ever were: each may overdraw once.
    purses: u64,
}

struct Sidecar {
    id: SidecarId,
    /// Seconds that its clock is ahead.
    ahead: i64,
    is_paused: bool,
    purses: BTreeMap<Period, Purse>,
    /// What each purse admitted and was not refunded.
    refundable: BTreeMap<Period, u64>,
}

struct Row {
    account: Account,
    version: u64,
    /// The last report booked of each sidecar that ever was.
    booked: BTreeMap<SidecarId, u64>,
}

struct LateWrite {
    period: Period,
    version: u64,
    /// When it was prepared, by the clock of who did.
    at: Timestamp,
    /// And really.
    millis: u64,
    id: SidecarId,
    report: Report,
    account: Account,
    terms: Terms,
}

pub(super) struct World {
    /// Milliseconds since [`T0`].
    millis: u64,
    granted: u64,
    pub(super) is_away: bool,
    rows: BTreeMap<Period, Row>,
    truth: BTreeMap<Period, Truth>,
    sidecars: Vec<Sidecar>,
    late: Option<LateWrite>,
    born: u32,
    rules: Rules,
}

impl World {
    pub(super) fn new(sidecars: usize, seconds: u64, granted: u64, remember: usize) -> Self {
        let mut world = Self {
            millis: seconds * 1000,
            granted,
            is_away: false,
            rows: BTreeMap::new(),
            truth: BTreeMap::new(),
            sidecars: Vec::new(),
            late: None,
            born: 0,
            rules: Rules { remember, ..RULES },
        };
        for _ in 0..sidecars {
            let born = world.bear(0);
            world.sidecars.push(born);
        }
        world
    }

    fn bear(&mut self, ahead: i64) -> Sidecar {
        self.born += 1;
        let id = format!("s{}", self.born).parse().unwrap();
        Sidecar { id, ahead, is_paused: false, purses: BTreeMap::new(), refundable: BTreeMap::new() }
    }

    fn nanos(&self) -> Nanos {
        Nanos(7 + self.millis * 1_000_000)
    }

    fn wall(&self, who: usize) -> Timestamp {
        let millis = i64::try_from(self.millis).unwrap() + self.sidecars[who].ahead * 1000;
        T0.checked_add(SignedDuration::from_millis(millis)).unwrap()
    }

    fn live(&self) -> NonZeroU32 {
        NonZeroU32::new(u32::try_from(self.sidecars.len()).unwrap()).unwrap()
    }

    fn overdraft(&self) -> u64 {
        RULES.overdraft / u64::from(self.live().get())
    }

    fn row(&mut self, period: Period) -> &mut Row {
        let granted = self.granted;
        self.rows.entry(period).or_insert_with(|| Row {
            account: Account::open("acme".parse().unwrap(), period, granted),
            version: 0,
            booked: BTreeMap::new(),
        })
    }

    fn truth(&mut self, period: Period) -> &mut Truth {
        self.truth.entry(period).or_default()
    }

    /// The month that the sidecar believes in, with a purse for it; older purses are closed, settled ones dropped.
    fn period(&mut self, who: usize) -> Period {
        // A new purse is made later than the one before it.
        self.millis += 1;
        let (period, now, overdraft) = (Period::of(self.wall(who)), self.nanos(), self.overdraft());
        let purses = &mut self.sidecars[who].purses;
        purses.iter_mut().filter(|(of, _)| **of < period).for_each(|(_, purse)| purse.close());
        purses.retain(|_, purse| !purse.is_settled() || purse.look(0, now) != Standing::Closed);
        let before = purses.len();
        purses.entry(period).or_insert_with(|| Purse::new(overdraft, now));
        let made = purses.len() - before;
        self.truth(period).purses += made as u64;
        period
    }

    /// One request. It is admitted or not as a sidecar would do it.
    pub(super) fn request(&mut self, who: usize, cost: u64) -> Option<Standing> {
        if self.sidecars[who].is_paused {
            return None;
        }
        let period = self.period(who);
        let mut asked = false;
        for _ in 0..4 {
            let now = self.nanos();
            let purse = self.sidecars[who].purses.get_mut(&period).unwrap();
            let before = purse.clone();
            let looked = purse.look(cost, now);
            assert_eq!(*purse, before);
            let standing = purse.spend(cost, now);
            assert_eq!(standing, looked);
            assert!(standing.passes() || *purse == before, "a refused request changed the purse");
            match standing {
                Standing::TopUp => {
                    let fate = if self.is_away { Fate::LostWrite } else { Fate::Fine };
                    self.settle_purse(who, period, &[cost], fate);
                    asked = true;
                }
                Standing::Enough | Standing::Overdraft => {
                    self.truth(period).admitted += cost;
                    *self.sidecars[who].refundable.entry(period).or_default() += cost;
                    return Some(standing);
                }
                Standing::Short => {
                    let left = self.row(period).account.available();
                    assert!(!asked || left < cost, "refused for want of credits, {left} are left for {cost}");
                    return Some(standing);
                }
                Standing::Away | Standing::Closed => return Some(standing),
            }
        }
        panic!("asking the ledger again and again for {cost}: {:?}", self.sidecars[who].purses[&period]);
    }

    pub(super) fn refund(&mut self, who: usize, amount: u64) {
        let Sidecar { purses, refundable, .. } = &mut self.sidecars[who];
        for (period, purse) in purses {
            let most = refundable.entry(*period).or_default();
            let amount = amount.min(*most);
            let before = purse.clone();
            purse.refund(amount);
            if *purse != before {
                *most -= amount;
                self.truth.entry(*period).or_default().refunded += amount;
            }
        }
    }

    pub(super) fn settle(&mut self, who: usize, fate: Fate) {
        if self.sidecars[who].is_paused {
            return;
        }
        self.period(who);
        let fate = if self.is_away { Fate::LostWrite } else { fate };
        let periods: Vec<Period> = self.sidecars[who].purses.keys().copied().collect();
        for period in periods {
            self.settle_purse(who, period, &[], fate);
        }
    }

    fn settle_purse(&mut self, who: usize, period: Period, waiting: &[u64], fate: Fate) {
        let (live, now, wall) = (self.live(), self.nanos(), self.wall(who));
        let id = self.sidecars[who].id.clone();
        let rules = self.rules;
        let purse = self.sidecars[who].purses.get_mut(&period).unwrap();
        let waited = purse.unanswered();
        let (report, ask) = purse.report(waiting, 0, live, now);
        // A refund that was not answered for long is given up.
        let given_up = waited.map_or(0, |waited| waited.refunded - report.refunded);
        let row = self.row(period);
        let is_booked = row.booked.get(&id).is_some_and(|number| *number >= report.number);
        self.truth(period).vanished += if is_booked { 0 } else { given_up };
        let row = self.row(period);
        let version = row.version;
        let (account, terms) = row.account.clone().settle(&id, &report, ask, &rules, wall);
        // Doing it twice changes nothing.
        let (again, repeated) = account.clone().settle(&id, &report, ask, &rules, wall);
        assert!(again == account && repeated.is_repeat && repeated.amount == terms.amount);
        checks::lease(&account, &report, ask, &terms, wall >= period.ends());
        let write = LateWrite { period, version, at: wall, millis: self.millis, id, report, account, terms };
        match fate {
            Fate::LostWrite => {}
            Fate::Late => self.late = Some(write),
            Fate::LostAnswer => self.write(write),
            Fate::Fine => {
                self.write(write);
                let purse = self.sidecars[who].purses.get_mut(&period).unwrap();
                // What was spent of a forgotten lease since the report was made is not reported any more.
                let since = if terms.is_forgotten { purse.unreported().leased } else { 0 };
                purse.settled(&terms, now);
                self.truth(period).forgotten += since;
                return;
            }
        }
        self.sidecars[who].purses.get_mut(&period).unwrap().unreachable(now);
    }

    /// Writes what was prepared, and keeps the books of what really happened.
    fn write(&mut self, write: LateWrite) {
        let LateWrite { period, at, id, report, account, terms, .. } = write;
        let row = self.row(period);
        if terms.is_repeat {
            assert_eq!(row.account, account);
            return;
        }
        let booked = report.over + if terms.is_forgotten { 0 } else { report.leased };
        let refunded = row.account.spent + booked - account.spent;
        let expected = if at < period.ends() { report.refunded.min(row.account.spent + booked) } else { 0 };
        let was_booked = row.booked.get(&id).is_some_and(|number| *number >= report.number);
        let was_known = row.account.leases.contains_key(&id);
        assert!(!was_booked || (!was_known && booked == report.over && refunded == 0), "booked twice: {report:?}");
        row.booked.insert(id.clone(), report.number);
        row.account = account;
        row.version += 1;
        let truth = self.truth.entry(period).or_default();
        if was_booked {
            truth.twice += report.over;
        } else {
            assert_eq!(refunded, expected);
            truth.vanished += report.refunded - refunded;
            truth.forgotten += if terms.is_forgotten { report.leased } else { 0 };
        }
    }

    /// A write that nobody waits for any more arrives, within a minute and if it still finds what it is to replace.
    pub(super) fn deliver(&mut self) {
        if let Some(late) = self.late.take()
            && self.row(late.period).version == late.version
            && self.millis < late.millis + 60_000
        {
            self.write(late);
        }
    }

    /// What each sidecar does by itself every now and then.
    pub(super) fn tick(&mut self) {
        for who in 0..self.sidecars.len() {
            if self.sidecars[who].is_paused {
                continue;
            }
            self.period(who);
            let now = self.nanos();
            let due = |(period, purse): (&Period, &Purse)| purse.needs_settling(now).then_some(*period);
            let due: Vec<Period> = self.sidecars[who].purses.iter().filter_map(due).collect();
            let fate = if self.is_away { Fate::LostWrite } else { Fate::Fine };
            for period in due {
                self.settle_purse(who, period, &[], fate);
            }
        }
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.millis += millis;
    }

    pub(super) fn pause(&mut self, who: usize) {
        self.sidecars[who].is_paused = !self.sidecars[who].is_paused;
    }

    pub(super) fn set_clock(&mut self, who: usize, seconds: i64) {
        self.sidecars[who].ahead = seconds;
    }

    pub(super) fn crash(&mut self, who: usize) {
        self.deliver();
        let born = self.bear(self.sidecars[who].ahead);
        let crashed = std::mem::replace(&mut self.sidecars[who], born);
        for (period, purse) in &crashed.purses {
            let lost = self.unbooked(&crashed.id, *period, purse);
            let truth = self.truth(*period);
            truth.lost += lost.leased + lost.over;
            truth.vanished += lost.refunded;
        }
    }

    pub(super) fn grant(&mut self, more: u64) {
        let period = Period::of(self.wall(0));
        let row = self.row(period);
        row.account = row.account.clone().grant(more);
        row.version += 1;
    }

    pub(super) fn write_off(&mut self) {
        let now = self.wall(0);
        for row in self.rows.values_mut() {
            let (account, sum) = row.account.clone().write_off(now);
            assert_eq!(account.written_off, row.account.written_off + sum);
            assert_eq!(account.left(), row.account.left(), "writing off is no gain and no loss");
            row.version += u64::from(account != row.account);
            row.account = account;
        }
    }

    /// What a purse has spent that its account does not know of.
    fn unbooked(&self, id: &SidecarId, period: Period, purse: &Purse) -> Report {
        let mut sum = purse.unreported();
        let booked = self.rows.get(&period).and_then(|row| row.booked.get(id)).copied().unwrap_or(0);
        if let Some(report) = purse.unanswered().filter(|report| report.number > booked) {
            sum.leased += report.leased;
            sum.over += report.over;
            sum.refunded += report.refunded;
        }
        sum
    }
}
