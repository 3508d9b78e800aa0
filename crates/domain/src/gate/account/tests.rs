use proptest::prelude::*;
use serde_json::json;

use super::*;

const RULES: Rules = Rules { direct_below: 1000, overdraft: 600, remember: 2 };

/// In the middle of November 2026.
const NOON: Timestamp = Timestamp::constant(1_794_744_000, 0);

fn at(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

fn id(name: &str) -> SidecarId {
    name.parse().unwrap()
}

fn account(granted: u64) -> Account {
    Account::open("acme".parse().unwrap(), Period::of(NOON), granted)
}

fn report(number: u64, leased: u64, keep: u64) -> Report {
    Report { number, leased, keep, ..Report::default() }
}

fn ask(waiting: &[u64], recent: u64, live: u32) -> Ask<'_> {
    Ask { waiting, recent, live: NonZeroU32::new(live).unwrap() }
}

/// spent, written off, leased, left
fn columns(account: &Account) -> (u64, u64, u128, i128) {
    (account.spent, account.written_off, account.leased(), account.left())
}

#[test]
fn a_lease_is_ten_seconds_of_spending_and_a_share_of_half_of_what_is_left() {
    let lease = |granted, waiting: &[u64], recent, live| {
        let (_, terms) = account(granted).settle(&id("a"), &report(1, 0, 0), ask(waiting, recent, live), &RULES, NOON);
        (terms.amount, terms.left)
    };
    assert_eq!(lease(100_000, &[], 500, 1), (500, 99_500));
    assert_eq!(lease(100_000, &[], 500_000, 1), (50_000, 50_000));
    assert_eq!(lease(100_000, &[], 500_000, 10), (5_000, 95_000));
    assert_eq!(lease(100_000, &[7], 500, 1), (500, 99_500));
    assert_eq!(lease(100_000, &[900, 7], 500, 1), (907, 99_093));
    // Near the end only what waits, and of that only what is covered.
    assert_eq!(lease(999, &[], 500, 1), (0, 999));
    assert_eq!(lease(999, &[7], 500, 1), (7, 992));
    assert_eq!(lease(12, &[7, 6, 5], 500, 1), (12, 0));
    assert_eq!(lease(4, &[5], 500, 1), (0, 4));
}

#[test]
fn the_overdraft_is_a_percentage_of_the_month() {
    let overdraft = |grant, percent| Rules::of(grant, percent).overdraft;
    assert_eq!((overdraft(1_000_000, 2), overdraft(1_000_000, 10), overdraft(1_000_000, 0)), (20_000, 100_000, 0));
    assert_eq!((overdraft(u64::MAX, 100), overdraft(u64::MAX, 255)), (u64::MAX, u64::MAX));
}

#[test]
fn settling_books_returns_and_leases_in_one_step() {
    let (account, terms) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    assert_eq!((terms.amount, columns(&account)), (500, (0, 0, 500, 99_500)));
    // 300 spent; it keeps 150 of the 200 that are left to it, and gets 50 anew.
    let (account, terms) = account.settle(&id("a"), &report(2, 300, 150), ask(&[], 200, 1), &RULES, at(5));
    assert_eq!((terms.amount, columns(&account)), (200, (300, 0, 200, 99_500)));
    assert_eq!(account.leases[&id("a")].until, at(35));
    assert_eq!((terms.left, terms.unspent), (99_500, 99_700));
    let (account, _) = account.settle(&id("a"), &report(3, 20, 0), ask(&[], 0, 1), &RULES, at(10));
    assert_eq!(columns(&account), (320, 0, 0, 99_680));
}

#[test]
fn what_a_holder_keeps_is_never_taken_from_it() {
    let (account, _) = account(1200).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    // Ten sidecars now, and less than the balance for a lease: what it may be spending just now stays leased.
    let (account, terms) = account.settle(&id("a"), &report(2, 300, 200), ask(&[], 500, 10), &RULES, at(1));
    assert_eq!((terms.amount, terms.size), (200, 0));
    assert_eq!(columns(&account), (300, 0, 200, 700));
}

#[test]
fn a_repeated_report_is_answered_and_changes_nothing() {
    let (first, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    let again = Report { over: 5, refunded: 3, ..report(2, 300, 150) };
    let (booked, terms) = first.settle(&id("a"), &again, ask(&[], 200, 1), &RULES, at(5));
    let (repeated, answer) = booked.clone().settle(&id("a"), &again, ask(&[999], 900, 3), &RULES, at(9));
    assert_eq!(repeated, booked);
    assert_eq!((answer.amount, answer.left, answer.is_repeat), (terms.amount, terms.left, true));
    // An older one changes nothing either, and has no lease.
    let (repeated, answer) = booked.clone().settle(&id("a"), &report(1, 9, 9), ask(&[], 0, 1), &RULES, at(9));
    assert_eq!((repeated, answer.amount), (booked, 0));
}

#[test]
fn an_expired_lease_counts_as_spent_until_its_holder_says_what_it_did() {
    let (account, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    let (account, sum) = account.write_off(at(90));
    assert_eq!((sum, columns(&account)), (0, (0, 0, 500, 99_500)));
    let (account, sum) = account.write_off(at(91));
    assert_eq!((sum, columns(&account)), (500, (0, 500, 0, 99_500)));
    // Another's settling does the same, and writing off again changes nothing.
    assert_eq!(account.clone().write_off(at(3000)), (account.clone(), 0));
    // It spent 200, goes on spending 100, and needs the rest no more.
    let (account, terms) = account.settle(&id("a"), &report(2, 200, 100), ask(&[], 0, 1), &RULES, at(3000));
    assert_eq!((terms.amount, columns(&account)), (100, (200, 0, 100, 99_700)));
}

#[test]
fn others_leases_are_written_off_by_who_settles() {
    let (account, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 2), &RULES, NOON);
    let (account, _) = account.settle(&id("b"), &report(1, 0, 0), ask(&[], 70, 2), &RULES, at(100));
    assert_eq!(columns(&account), (0, 500, 70, 99_430));
}

#[test]
fn a_lease_written_off_and_forgotten_stays_written_off() {
    let settle = |account: Account, name, number, seconds| {
        account.settle(&id(name), &report(number, 0, 0), ask(&[], 500, 4), &RULES, at(seconds)).0
    };
    let account = settle(account(100_000), "a", 1, 0);
    let account = settle(settle(account, "b", 1, 100), "c", 1, 200);
    // More than two leases, and the oldest ended more than an hour ago.
    let account = settle(account, "c", 2, 3700);
    assert_eq!(account.leases.keys().map(SidecarId::as_str).collect::<Vec<_>>(), ["b", "c"]);
    let before = columns(&account);
    let late = Report { over: 7, ..report(2, 300, 100) };
    let (account, terms) = account.settle(&id("a"), &late, ask(&[], 0, 4), &RULES, at(3701));
    assert!(terms.is_forgotten && terms.amount == 0);
    assert_eq!(columns(&account), (before.0 + 7, before.1, before.2, before.3 - 7));
    let (_, terms) = account.settle(&id("a"), &late, ask(&[], 0, 4), &RULES, at(3702));
    assert!(terms.is_forgotten && terms.is_repeat);
}

#[test]
fn an_overdraft_is_booked_below_zero_and_nothing_is_leased_until_it_is_paid() {
    let (account, _) = account(2000).settle(&id("a"), &report(1, 0, 0), ask(&[1900], 0, 2), &RULES, NOON);
    let over = Report { over: 250, ..report(2, 1900, 0) };
    let (account, terms) = account.settle(&id("a"), &over, ask(&[1], 0, 2), &RULES, at(5));
    assert_eq!(columns(&account), (2150, 0, 0, -150));
    assert_eq!((terms.amount, terms.left, terms.unspent, terms.overdraft), (0, 0, 0, 300));
    let account = account.grant(151);
    let (account, terms) = account.settle(&id("a"), &report(3, 0, 0), ask(&[1], 0, 2), &RULES, at(6));
    assert_eq!((terms.amount, columns(&account)), (1, (2150, 0, 1, 0)));
}

#[test]
fn an_overdraft_takes_nothing_from_what_is_kept() {
    let (account, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 9, 1), &RULES, NOON);
    let (account, terms) =
        account.settle(&id("a"), &Report { over: 9, ..report(2, 8, 1) }, ask(&[], 0, 1), &RULES, at(5));
    assert_eq!((terms.amount, columns(&account)), (1, (17, 0, 1, 99_982)));
}

#[test]
fn refunds_are_never_more_than_was_spent() {
    let (account, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[10], 0, 1), &RULES, NOON);
    let failed = Report { refunded: 4, ..report(2, 10, 0) };
    let (account, _) = account.settle(&id("a"), &failed, ask(&[], 0, 1), &RULES, at(1));
    assert_eq!(columns(&account), (6, 0, 0, 99_994));
    let failed = Report { refunded: 9, ..report(3, 0, 0) };
    let (account, _) = account.settle(&id("a"), &failed, ask(&[], 0, 1), &RULES, at(2));
    assert_eq!(columns(&account), (0, 0, 0, 100_000));
}

#[test]
fn leases_and_refunds_end_with_the_month_and_reports_do_not() {
    let (account, _) = account(100_000).settle(&id("a"), &report(1, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    let end = account.period.ends();
    let late = Report { over: 1, refunded: 50, ..report(2, 300, 20) };
    let (account, terms) = account.settle(&id("a"), &late, ask(&[7], 500, 1), &RULES, end);
    assert_eq!((terms.amount, terms.size, columns(&account)), (20, 0, (301, 0, 20, 99_679)));
    let (account, _) = account.settle(&id("a"), &report(3, 15, 0), ask(&[7], 500, 1), &RULES, end);
    assert_eq!(columns(&account), (316, 0, 0, 99_684));
}

#[test]
fn an_account_is_stored_as_plain_json() {
    let (account, _) = account(100_000).settle(&id("a"), &report(7, 0, 0), ask(&[], 500, 1), &RULES, NOON);
    let stored = serde_json::to_value(&account).unwrap();
    let lease = json!({ "number": 7, "amount": 500, "written_off": 0, "until": "2026-11-15T12:00:30Z" });
    let expected = json!({
        "project": "acme", "period": "2026-11", "granted": 100_000, "spent": 0, "written_off": 0,
        "leases": { "a": lease },
    });
    assert_eq!(stored, expected);
    assert_eq!(serde_json::from_value::<Account>(stored).unwrap(), account);
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(u64::MAX), Just(0), 0..1000_u64]
}

proptest! {
    /// Whatever a sidecar reports or a row holds, nothing is leased that is not left, and nothing panics.
    #[test]
    fn no_number_is_too_large(
        calls in proptest::collection::vec(
            (numbers(), numbers(), numbers(), numbers(), numbers(), 0..3_usize, any::<i32>()), 1..40,
        ),
    ) {
        let mut account = account(u64::MAX / 2);
        for (number, leased, over, refunded, keep, who, seconds) in calls {
            let now = NOON.checked_add(jiff::SignedDuration::from_secs(seconds.into())).unwrap();
            let report = Report { number, leased, over, refunded, keep };
            let before = account.clone();
            let (after, terms) = account.settle(&id(["a", "b", "c"][who]), &report, ask(&[keep, over], leased, 1), &RULES, now);
            account = after.grant(refunded);
            let held: u128 = before.leases.values().map(|lease| u128::from(lease.amount) + u128::from(lease.written_off)).sum();
            prop_assert!(account.leased() <= held + u128::from(before.granted));
            prop_assert!(terms.is_repeat || terms.amount <= keep || i128::from(terms.amount) <= before.granted.into());
        }
    }
}
