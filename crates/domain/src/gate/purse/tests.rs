use jiff::Timestamp;

use super::*;
use crate::gate::account::{Account, Period, Rules, SidecarId};

const RULES: Rules = Rules { direct_below: 1000, overdraft: 200, remember: 16 };
const MILLI: u64 = 1_000_000;
const ONE: NonZeroU32 = NonZeroU32::MIN;

/// In the middle of a month.
const NOON: Timestamp = Timestamp::constant(1_794_744_000, 0);

/// A purse, its account and a clock for both.
struct Shop {
    account: Account,
    purse: Purse,
    millis: u64,
    /// How often the ledger was asked.
    calls: u32,
}

impl Shop {
    fn new(granted: u64) -> Self {
        let account = Account::open("acme".parse().unwrap(), Period::of(NOON), granted);
        Self { account, purse: Purse::new(200, Nanos(0)), millis: 0, calls: 0 }
    }

    fn now(&self) -> Nanos {
        Nanos(self.millis * MILLI)
    }

    fn settle(&mut self, waiting: &[u64]) {
        let now = NOON + Duration::from_millis(self.millis);
        let sidecar: SidecarId = "a".parse().unwrap();
        let (report, ask) = self.purse.report(waiting, 0, ONE, self.now());
        let (account, terms) = self.account.clone().settle(&sidecar, &report, ask, &RULES, now);
        self.account = account;
        self.purse.settled(&terms, self.now());
        self.calls += 1;
    }

    fn fail(&mut self, waiting: &[u64]) {
        let now = self.now();
        self.purse.report(waiting, 0, ONE, now);
        self.purse.unreachable(now);
        self.calls += 1;
    }

    fn look(&self, cost: u64) -> Standing {
        self.purse.look(cost, self.now())
    }

    fn spend(&mut self, cost: u64) -> Standing {
        self.purse.spend(cost, self.now())
    }

    /// A request that settles if it has to.
    fn request(&mut self, cost: u64) -> Standing {
        if self.look(cost) == Standing::TopUp {
            self.settle(&[cost]);
        }
        self.spend(cost)
    }

    fn needs_settling(&self) -> bool {
        self.purse.needs_settling(self.now())
    }

    /// A quarter of a second passes, and what is due is done.
    fn tick(&mut self) {
        self.millis += 250;
        if self.needs_settling() {
            self.settle(&[]);
        }
    }
}

#[test]
fn a_busy_project_seldom_asks_and_never_waits() {
    let mut shop = Shop::new(10_000_000);
    let mut waited = 0;
    for i in 0..6000 {
        // 100 requests of two credits each second, for a minute.
        waited += u32::from(shop.look(2) == Standing::TopUp);
        assert_eq!(shop.request(2), Standing::Enough);
        shop.millis += 10;
        if i % 25 == 0 && shop.needs_settling() {
            shop.settle(&[]);
        }
    }
    assert!(waited <= 8, "{waited} requests waited for the ledger");
    assert!(shop.calls <= 32, "{} calls in a minute", shop.calls);
    let lease = shop.account.leases.values().next().unwrap();
    assert!((1900..=2000).contains(&lease.amount), "ten seconds are 2,000: {lease:?}");
}

#[test]
fn looking_changes_nothing_and_what_is_refused_costs_nothing() {
    let mut shop = Shop::new(1_000_000);
    assert_eq!((shop.look(5), shop.look(5)), (Standing::TopUp, Standing::TopUp));
    let before = shop.purse.clone();
    assert_eq!(shop.spend(5), Standing::TopUp);
    assert_eq!(shop.purse, before);
    assert_eq!(shop.look(0), Standing::Enough, "what costs nothing needs nothing");
}

#[test]
fn an_idle_lease_is_back_within_five_seconds() {
    let mut shop = Shop::new(1_000_000);
    for _ in 0..10 {
        shop.request(10);
    }
    assert!(shop.purse.held() > 0);
    for _ in 0..20 {
        shop.tick();
    }
    assert!(shop.purse.is_settled() && !shop.needs_settling());
    assert_eq!((shop.account.spent, shop.account.leased()), (100, 0));
    let calls = shop.calls;
    (0..100).for_each(|_| shop.tick());
    assert_eq!(shop.calls, calls, "who does nothing asks nothing");
}

#[test]
fn spending_is_known_within_five_seconds() {
    let mut shop = Shop::new(1_000_000);
    let mut spent = Vec::new();
    for _ in 0..80 {
        shop.request(1);
        spent.push(spent.last().unwrap_or(&0) + 1);
        shop.tick();
        if let Some(then) = spent.len().checked_sub(20) {
            assert!(shop.account.spent >= spent[then]);
        }
    }
}

#[test]
fn near_the_end_each_request_asks_and_all_is_spent_to_the_last_credit() {
    let mut shop = Shop::new(103);
    for _ in 0..20 {
        assert_eq!(shop.request(5), Standing::Enough);
        assert!(!shop.needs_settling());
    }
    assert_eq!((shop.calls, shop.request(5)), (20, Standing::Short));
    assert_eq!(shop.request(3), Standing::Enough);
    assert_eq!(shop.request(1), Standing::Short);
    shop.settle(&[]);
    assert_eq!((shop.account.spent, shop.account.left()), (103, 0));
}

#[test]
fn want_of_credits_is_believed_for_a_second() {
    let mut shop = Shop::new(0);
    assert_eq!(shop.request(1), Standing::Short);
    let calls = shop.calls;
    shop.account = shop.account.clone().grant(5);
    for _ in 0..999 {
        assert_eq!(shop.request(1), Standing::Short);
        shop.millis += 1;
    }
    assert_eq!(shop.calls, calls);
    shop.millis += 1;
    assert_eq!(shop.request(1), Standing::Enough);
}

#[test]
fn what_no_request_asked_for_refuses_none() {
    let mut shop = Shop::new(0);
    shop.settle(&[]);
    assert_eq!(shop.look(1), Standing::TopUp);
}

#[test]
fn an_overdraft_bridges_an_outage_and_ends() {
    let mut shop = Shop::new(1_000_000);
    (0..10).for_each(|_| assert_eq!(shop.request(10), Standing::Enough));
    let held = shop.purse.held();
    assert_eq!(shop.spend(held), Standing::Enough);
    assert_eq!(shop.look(150), Standing::TopUp);
    shop.fail(&[150]);
    assert_eq!(shop.spend(150), Standing::Overdraft);
    assert_eq!(shop.look(51), Standing::Away);
    assert_eq!(shop.spend(50), Standing::Overdraft);
    assert_eq!(shop.look(1), Standing::Away);
    // It is tried again each second, and requests do not wait for it.
    for _ in 0..600 {
        shop.millis += 999;
        assert!(!shop.needs_settling());
        shop.millis += 1;
        assert!(shop.needs_settling());
        shop.fail(&[]);
        assert_eq!(shop.look(1), Standing::Away);
    }
    shop.settle(&[]);
    shop.settle(&[]);
    assert_eq!(shop.account.spent, 100 + held + 200);
    assert_eq!(shop.request(150), Standing::Enough);
}

#[test]
fn who_was_told_that_nothing_is_left_gets_no_overdraft() {
    let mut shop = Shop::new(10);
    assert_eq!(shop.request(10), Standing::Enough);
    shop.millis += 2000;
    assert_eq!(shop.look(1), Standing::TopUp);
    shop.fail(&[1]);
    assert_eq!(shop.spend(1), Standing::Away, "not 402: nobody knows");
}

#[test]
fn an_expired_lease_is_not_spent_and_not_lost() {
    let mut shop = Shop::new(1_000_000);
    (0..10).for_each(|_| assert_eq!(shop.request(10), Standing::Enough));
    shop.settle(&[]);
    let held = shop.purse.held();
    assert!(held > 0);
    shop.millis += 29_999;
    assert_eq!(shop.look(held), Standing::Enough);
    shop.millis += 1;
    assert_eq!(shop.look(1), Standing::TopUp);
    // The ledger wrote it off; asking puts it right.
    shop.millis += 100_000;
    shop.account = shop.account.clone().write_off(NOON + Duration::from_millis(shop.millis)).0;
    assert_eq!(u128::from(shop.account.written_off), u128::from(held));
    assert_eq!(shop.request(1), Standing::Enough);
    assert_eq!((shop.account.written_off, shop.account.left()), (0, 1_000_000 - 101));
}

#[test]
fn a_lost_answer_costs_nothing() {
    let mut shop = Shop::new(1_000_000);
    (0..10).for_each(|_| assert_eq!(shop.request(10), Standing::Enough));
    let (report, ask) = shop.purse.report(&[], 0, ONE, shop.now());
    let (account, _) = shop.account.clone().settle(&"a".parse().unwrap(), &report, ask, &RULES, NOON);
    shop.account = account;
    shop.purse.unreachable(shop.now());
    shop.millis += 1000;
    assert!(shop.needs_settling());
    assert_eq!(shop.purse.report(&[], 0, ONE, shop.now()).0, report, "the same again");
    shop.settle(&[]);
    assert_eq!(shop.account.spent, 100);
    let after = shop.purse.clone();
    let terms = Terms {
        number: report.number,
        amount: 999,
        size: 999,
        left: 0,
        unspent: 0,
        overdraft: 0,
        is_repeat: false,
        is_forgotten: false,
    };
    shop.purse.settled(&terms, shop.now());
    assert_eq!(shop.purse, after, "an answer that comes too late is ignored");
}

#[test]
fn spending_goes_on_while_a_report_is_on_its_way() {
    let mut shop = Shop::new(1_000_000);
    (0..10).for_each(|_| assert_eq!(shop.request(10), Standing::Enough));
    shop.settle(&[]);
    let before = shop.purse.held();
    let (report, ask) = shop.purse.report(&[], 0, ONE, shop.now());
    assert_eq!(shop.spend(30), Standing::Enough);
    let (account, terms) = shop.account.clone().settle(&"a".parse().unwrap(), &report, ask, &RULES, NOON);
    shop.account = account;
    shop.purse.settled(&terms, shop.now());
    assert_eq!(shop.purse.held(), before - 30);
    shop.settle(&[]);
    assert_eq!(shop.account.spent, 130);
}

#[test]
fn what_remains_is_shown_and_refunds_come_back() {
    let mut shop = Shop::new(1_000_000);
    assert_eq!(shop.purse.remaining(), None);
    shop.request(10);
    assert_eq!(shop.purse.remaining(), Some(999_990));
    shop.purse.refund(4);
    assert_eq!(shop.purse.remaining(), Some(999_994));
    shop.purse.report(&[], 0, ONE, shop.now());
    assert_eq!(shop.purse.remaining(), Some(999_994));
    shop.settle(&[]);
    assert_eq!((shop.purse.remaining(), shop.account.spent), (Some(999_994), 6));
}

#[test]
fn a_closed_purse_gives_all_back() {
    let mut shop = Shop::new(1_000_000);
    (0..10).for_each(|_| assert_eq!(shop.request(10), Standing::Enough));
    shop.purse.close();
    assert_eq!((shop.spend(0), shop.spend(1)), (Standing::Closed, Standing::Closed));
    shop.purse.refund(7);
    assert!(shop.needs_settling());
    shop.settle(&[]);
    assert!(shop.purse.is_settled() && !shop.needs_settling());
    assert_eq!((shop.account.spent, shop.account.leased()), (100, 0));
}

#[test]
fn steady_spending_is_measured_exactly_and_old_spending_fades() {
    let second = |s: u64| Nanos(s * 1000 * MILLI);
    let mut recent = Recent::new(second(0));
    for s in 0..100 {
        recent.add(7, second(s));
        assert!((s < 9 || recent.sum(second(s)) >= 70) && recent.sum(second(s)) <= 77, "{s}: {recent:?}");
    }
    assert!(recent.sum(second(104)) < 70 && recent.sum(second(104)) > 30);
    assert_eq!(recent.sum(second(110)), 0);
    let mut recent = Recent::new(second(0));
    recent.add(u64::MAX, second(9));
    recent.add(u64::MAX, second(12));
    assert_eq!(recent.sum(Nanos(u64::MAX)), 0);
    assert_eq!(recent.sum(second(12)), u64::MAX);
}

#[test]
fn what_was_promised_is_not_given_up() {
    // Charged directly, so that nothing else is kept.
    let mut shop = Shop::new(103);
    assert_eq!(shop.look(20), Standing::TopUp);
    shop.settle(&[20]);
    assert_eq!(shop.purse.held(), 20);
    let (report, _) = shop.purse.report(&[15, 7], 15, ONE, shop.now());
    assert_eq!((report.keep, shop.purse.held()), (15, 15));
}
