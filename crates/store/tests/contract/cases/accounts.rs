//! Accounts: what the ledger holds of each project and month.

use nodeweir_domain::gate::account::Account;
use nodeweir_store::{GateStore, LAPSE_LAG, StoreError, Written};

use crate::samples::at;
use crate::samples::gate::{account, lease, period, project_id, sidecar};
use crate::{Place, Row};

async fn put(store: &impl GateStore, seen: Option<&Account>, account: &Account) -> Written {
    store.put_account(seen, account).await.unwrap()
}

async fn now(store: &impl GateStore) -> Option<Account> {
    store.account(&project_id("shop"), period("2026-11")).await.unwrap()
}

pub(crate) async fn accounts_are_kept_and_come_newest_first(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!((now(&one).await, one.accounts(&project_id("shop")).await.unwrap()), (None, vec![]));
    let in_month = |month: &str| Account { period: period(month), ..account(u64::MAX) };
    let mut full = Account { spent: u64::MAX - 1, written_off: 7, ..in_month("2026-11") };
    full.leases = [(sidecar("a"), lease(u64::MAX, 1)), (sidecar("b-2"), lease(0, 2))].into();
    let elsewhere = Account { project: project_id("shop-2"), ..in_month("2026-11") };
    for account in [&in_month("2027-01"), &full, &elsewhere, &in_month("2026-02")] {
        assert_eq!(put(&one, None, account).await, Written::Done);
        assert_eq!(other.account(&account.project, account.period).await.unwrap().as_ref(), Some(account));
    }
    let months = other.accounts(&project_id("shop")).await.unwrap();
    assert_eq!(months, [in_month("2027-01"), full, in_month("2026-02")]);
    assert_eq!(other.account(&project_id("shop"), period("2026-12")).await.unwrap(), None);
}

pub(crate) async fn an_account_is_written_only_over_what_was_seen(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let first = account(100);
    let mut second = account(100);
    second.leases = [(sidecar("a"), lease(10, 1))].into();
    let mut third = second.clone();
    third.leases = [(sidecar("a"), lease(10, 2))].into();
    assert_eq!(put(&one, Some(&first), &second).await, Written::Lost, "nothing is there to replace");
    assert_eq!(put(&one, None, &first).await, Written::Done);
    assert_eq!(put(&one, None, &second).await, Written::Lost, "there is one already");
    assert_eq!(put(&one, Some(&account(99)), &second).await, Written::Lost, "it is another one");
    assert_eq!(now(&other).await.as_ref(), Some(&first), "lost writes left no trace");
    assert_eq!(put(&other, Some(&first), &second).await, Written::Done);
    assert_eq!(put(&one, Some(&first), &third).await, Written::Lost, "the other was faster");
    assert_eq!(put(&one, Some(&third), &first).await, Written::Lost, "a lease that ends later is another one");
    assert_eq!(put(&one, Some(&second), &third).await, Written::Done);
    assert_eq!(now(&other).await, Some(third));
}

pub(crate) async fn of_concurrent_spending_none_is_lost(place: &impl Place<Store: GateStore>) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 15;
    let (one, other) = (place.open().await, place.open().await);
    let spend = async |index: u64| {
        let store = if index.is_multiple_of(2) { &one } else { &other };
        for _ in 0..EACH {
            loop {
                let seen = now(store).await;
                let mut more = seen.clone().unwrap_or_else(|| account(1000));
                more.spent += 1;
                if put(store, seen.as_ref(), &more).await == Written::Done {
                    break;
                }
            }
        }
    };
    futures_util::future::join_all((0..WRITERS).map(spend)).await;
    assert_eq!(now(&one).await.map(|account| (account.granted, account.spent)), Some((1000, WRITERS * EACH)));
}

pub(crate) async fn many_accounts_are_found_and_written_at_once(place: &impl Place<Store: GateStore>) {
    // More than one call of DynamoDB takes, for reading as for writing.
    const MANY: u64 = 120;
    let (one, other) = (place.open().await, place.open().await);
    let of = |index: u64| Account { project: project_id(&format!("p-{index}")), ..account(index) };
    let spent = |index: u64, spent: u64| Account { spent, ..of(index) };
    let all: Vec<_> = (0..MANY).map(|index| (of(index).project, period("2026-11"))).collect();
    let found = async || {
        let found = other.find_accounts(&all).await;
        found.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let wrote = async |changes: Vec<(Option<Account>, Account)>| {
        let wrote = one.put_accounts(&changes).await;
        wrote.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(one.find_accounts(&[]).await.len() + one.put_accounts(&[]).await.len(), 0);
    assert_eq!(found().await, vec![None; all.len()]);
    assert_eq!(wrote((0..MANY).map(|index| (None, of(index))).collect()).await, vec![Written::Done; all.len()]);
    assert_eq!(found().await, (0..MANY).map(|index| Some(of(index))).collect::<Vec<_>>());
    // Every third was seen as it is not, and every third is not there at all.
    let changes = (0..MANY).map(|index| match index % 3 {
        0 => (Some(of(index)), spent(index, 1)),
        1 => (Some(spent(index, 7)), spent(index, 1)),
        _ => (Some(account(0)), Account { project: project_id(&format!("none-{index}")), ..account(0) }),
    });
    let lost = |index: u64| if index.is_multiple_of(3) { Written::Done } else { Written::Lost };
    assert_eq!(wrote(changes.collect()).await, (0..MANY).map(lost).collect::<Vec<_>>());
    let expected = |index| Some(if lost(index) == Written::Done { spent(index, 1) } else { of(index) });
    assert_eq!(found().await, (0..MANY).map(expected).collect::<Vec<_>>());
    // The same one twice, and one that is not there.
    let [first, gone] = [&all[0], &(project_id("none-2"), period("2026-11"))];
    let found = other.find_accounts(&[first.clone(), gone.clone(), first.clone()]).await;
    assert_eq!(found.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [expected(0), None, expected(0)]);
}

pub(crate) async fn one_bad_account_is_no_matter_of_the_others<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    let other = Account { project: project_id("shop-2"), ..account(5) };
    assert_eq!(put(&store, None, &other).await, Written::Done);
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Account, damage).await;
        let of = ["shop-2", "shop"].map(|project| (project_id(project), period("2026-11")));
        let found = store.find_accounts(&of).await;
        assert!(matches!(&found[..], [Ok(Some(_)), Err(StoreError::Unreadable { .. })]), "{found:?}");
        let more = Account { spent: 1, ..other.clone() };
        let changes = [(Some(account(100)), account(7)), (Some(other.clone()), more.clone())];
        let wrote = store.put_accounts(&changes).await;
        assert!(matches!(&wrote[..], [Err(StoreError::Unreadable { .. }), Ok(Written::Done)]), "{wrote:?}");
        assert_eq!(put(&store, Some(&more), &other).await, Written::Done);
    }
}

pub(crate) async fn accounts_whose_leases_ended_are_found(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let with = |project: &str, month: &str, leases: &[(&str, u64, u64)]| {
        let mut account = Account::open(project_id(project), period(month), 100);
        account.leases = leases.iter().map(|(name, amount, until)| (sidecar(name), lease(*amount, *until))).collect();
        account
    };
    let early = with("a", "2026-10", &[("x", 5, 10), ("y", 5, 90)]);
    let late = with("a", "2026-11", &[("x", 5, 20)]);
    let empty = with("b", "2026-11", &[("x", 0, 1)]);
    let none = with("c", "2026-11", &[]);
    for account in [&late, &none, &empty, &early] {
        assert_eq!(put(&one, None, account).await, Written::Done);
    }
    let lapsed = async |ended: jiff::Timestamp, most: u32| {
        let mut found = other.lapsed_accounts(ended, most).await.unwrap();
        found.sort_by_key(|account| account.period);
        found
    };
    assert_eq!(lapsed(at(10), 9).await, [], "one that ends then has not ended before");
    assert_eq!(lapsed(at(50) + LAPSE_LAG, 9).await, [early.clone(), late.clone()]);
    assert_eq!(lapsed(at(50) + LAPSE_LAG, 1).await.len(), 1);
    assert_eq!(lapsed(at(50) + LAPSE_LAG, 0).await, []);
    let (written_off, _) = early.clone().write_off(at(200));
    assert_eq!(put(&one, Some(&early), &written_off).await, Written::Done);
    assert_eq!(lapsed(at(500) + LAPSE_LAG, 9).await, [late]);
}

pub(crate) async fn an_account_that_cannot_be_read_is_never_taken_for_none<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    let other = Account { period: period("2026-12"), ..account(5) };
    assert_eq!(put(&store, None, &other).await, Written::Done);
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Account, damage).await;
        let error = store.account(&project_id("shop"), period("2026-11")).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { what: "an account", .. }), "{error:?}");
        assert!(error.to_string().contains("shop in 2026-11"), "{error}");
        // It would grant a month's credits once more.
        assert!(matches!(store.put_account(None, &account(100)).await, Err(StoreError::Unreadable { .. })));
        assert_eq!(store.accounts(&project_id("shop")).await.unwrap(), std::slice::from_ref(&other));
        assert_eq!(store.lapsed_accounts(at(500), 9).await.unwrap(), []);
    }
}
