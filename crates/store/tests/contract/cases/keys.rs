//! Keys.

use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_store::{GateStore, StoreError, Written};

use crate::samples::at;
use crate::samples::gate::{key, named, project_id, restrictions};
use crate::{Place, Row};

async fn put(store: &impl GateStore, seen: Option<&Key>, key: &Key) -> Written {
    store.put_key(seen, key).await.unwrap()
}

async fn of_shop(store: &impl GateStore) -> Vec<Key> {
    store.keys(&project_id("shop")).await.unwrap()
}

pub(crate) async fn a_key_is_found_by_its_digest(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(one.key(&key(1).digest).await.unwrap(), None);
    let full = Key { restrictions: restrictions(), expires: Some(at(7)), revoked: Some(at(8)), ..named(2, "full") };
    let far = Key { expires: Some(jiff::Timestamp::MAX), created: jiff::Timestamp::MIN, ..named(3, "far") };
    for key in [&key(1), &full, &far] {
        assert_eq!(put(&one, None, key).await, Written::Done);
        assert_eq!(other.key(&key.digest).await.unwrap().as_ref(), Some(key));
    }
    assert_eq!(other.key(&KeyDigest::of("another")).await.unwrap(), None);
    let mut near = key(1).digest;
    near.0[31] ^= 1;
    assert_eq!(other.key(&near).await.unwrap(), None);
}

pub(crate) async fn keys_come_by_name_and_age(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    assert_eq!(of_shop(&store).await, []);
    let revoked = |number: u64| Key { revoked: Some(at(9)), ..named(number, "b") };
    let other = Key { project: project_id("shop-2"), ..named(9, "a") };
    for key in [&named(5, "c"), &revoked(4), &named(6, "a-a"), &revoked(3), &other, &named(7, "b"), &named(8, "a")] {
        assert_eq!(put(&store, None, key).await, Written::Done);
    }
    let sorted = [named(8, "a"), named(6, "a-a"), revoked(3), revoked(4), named(7, "b"), named(5, "c")];
    assert_eq!(of_shop(&store).await, sorted);
    assert_eq!(store.keys(&project_id("shop-2")).await.unwrap(), [other]);
}

pub(crate) async fn many_keys_are_found_at_once<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    let all: Vec<Key> = (2..130).map(|number| named(number, &format!("key-{number}"))).collect();
    for key in all.iter().step_by(2) {
        assert_eq!(put(&store, None, key).await, Written::Done);
    }
    place.spoil(Row::Key, 0).await;
    let digests: Vec<KeyDigest> = all.iter().chain([&key(1), &all[0]]).map(|key| key.digest).collect();
    let mut found = place.open().await.find_keys(&digests).await;
    assert_eq!(found.pop().unwrap().unwrap().as_ref(), Some(&all[0]), "asked for twice");
    assert!(matches!(found.pop(), Some(Err(StoreError::Unreadable { .. }))));
    for (index, (found, key)) in found.into_iter().zip(&all).enumerate() {
        assert_eq!(found.unwrap().as_ref(), Some(key).filter(|_| index.is_multiple_of(2)));
    }
}

pub(crate) async fn a_key_is_written_only_over_what_was_seen(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let first = key(1);
    let second = Key { restrictions: restrictions(), ..key(1) };
    let third = Key { revoked: Some(at(5)), ..key(1) };
    assert_eq!(put(&one, Some(&first), &second).await, Written::Lost, "nothing is there to replace");
    assert_eq!(put(&one, None, &first).await, Written::Done);
    assert_eq!(put(&one, None, &first).await, Written::Lost, "there is one already");
    assert_eq!(put(&one, Some(&third), &second).await, Written::Lost, "it is another one");
    assert_eq!(other.key(&first.digest).await.unwrap().as_ref(), Some(&first), "lost writes left no trace");
    assert_eq!(put(&other, Some(&first), &second).await, Written::Done);
    assert_eq!(put(&one, Some(&first), &third).await, Written::Lost, "the other was faster");
    assert_eq!(put(&one, Some(&second), &third).await, Written::Done);
    let moved = Key { project: project_id("other"), ..third.clone() };
    assert_eq!(put(&one, Some(&third), &moved).await, Written::Lost, "it stays with its project");
    assert_eq!(put(&one, Some(&third), &key(2)).await, Written::Lost, "a digest does not change");
    assert_eq!(of_shop(&other).await, [third]);
}

pub(crate) async fn names_are_unique_among_keys_that_are_not_revoked(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    let (first, second) = (key(1), key(2));
    assert_eq!(put(&store, None, &first).await, Written::Done);
    assert_eq!(put(&store, None, &second).await, Written::Lost, "the name is taken");
    let elsewhere = Key { project: project_id("other"), ..key(3) };
    assert_eq!(put(&store, None, &elsewhere).await, Written::Done, "another project's names are its own");
    let renamed = named(4, "two");
    assert_eq!(put(&store, None, &renamed).await, Written::Done);
    assert_eq!(put(&store, Some(&renamed), &key(4)).await, Written::Lost, "nor can one be renamed so");

    let expired = Key { expires: Some(at(1)), ..first.clone() };
    assert_eq!(put(&store, Some(&first), &expired).await, Written::Done);
    assert_eq!(put(&store, None, &second).await, Written::Lost, "an expired key keeps its name");
    let revoked = Key { revoked: Some(at(5)), ..expired.clone() };
    assert_eq!(put(&store, Some(&expired), &revoked).await, Written::Done);
    assert_eq!(put(&store, None, &second).await, Written::Done, "a revoked one does not");
    assert_eq!(put(&store, Some(&revoked), &expired).await, Written::Lost, "and does not get it back");
    let gone = Key { revoked: Some(at(6)), ..second.clone() };
    assert_eq!(put(&store, Some(&second), &gone).await, Written::Done, "any number of revoked ones may have it");
    assert_eq!(of_shop(&store).await, [revoked, gone, renamed]);
}

pub(crate) async fn of_concurrent_keys_of_one_name_one_wins(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let create = async |number: u64| {
        let store = if number.is_multiple_of(2) { &one } else { &other };
        (number, put(store, None, &key(number)).await)
    };
    let done = futures_util::future::join_all((1..=20).map(create)).await;
    let won: Vec<u64> =
        done.iter().filter(|(_, written)| *written == Written::Done).map(|(number, _)| *number).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(of_shop(&one).await, [key(won[0])]);
}

pub(crate) async fn a_key_is_replaced_whole_or_not_at_all(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let seen = key(1);
    let old = Key { name: "one-old".parse().unwrap(), expires: Some(at(9)), ..key(1) };
    let replace = async |seen: &Key, old: &Key, new: &Key| one.replace_key(seen, old, new).await.unwrap();
    assert_eq!(replace(&seen, &old, &key(2)).await, Written::Lost, "nothing is there to replace");
    assert_eq!(put(&one, None, &seen).await, Written::Done);
    let taken = named(3, "two");
    assert_eq!(put(&one, None, &taken).await, Written::Done);
    assert_eq!(replace(&old, &old, &key(2)).await, Written::Lost, "it is another one");
    assert_eq!(replace(&seen, &old, &taken).await, Written::Lost, "the new one is there already");
    assert_eq!(replace(&seen, &old, &named(2, "two")).await, Written::Lost, "the new one's name is taken");
    assert_eq!(replace(&seen, &seen, &key(2)).await, Written::Lost, "the old one has it still");
    let onto = Key { name: "two".parse().unwrap(), ..old.clone() };
    assert_eq!(replace(&seen, &onto, &key(2)).await, Written::Lost, "the old one's new name is taken");
    assert_eq!(of_shop(&other).await, [seen.clone(), taken.clone()], "lost writes left no trace");
    assert_eq!(replace(&seen, &old, &key(2)).await, Written::Done);
    assert_eq!(of_shop(&other).await, [key(2), old.clone(), taken]);
    assert_eq!(other.key(&old.digest).await.unwrap(), Some(old));
    assert_eq!(other.key(&key(2).digest).await.unwrap(), Some(key(2)));
}

pub(crate) async fn of_concurrent_replacements_one_wins(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(put(&one, None, &key(0)).await, Written::Done);
    let replace = async |number: u64| {
        let store = if number.is_multiple_of(2) { &one } else { &other };
        let old = named(0, &format!("old-{number}"));
        (number, store.replace_key(&key(0), &old, &key(number)).await.unwrap())
    };
    let done = futures_util::future::join_all((1..=20).map(replace)).await;
    let won: Vec<u64> =
        done.iter().filter(|(_, written)| *written == Written::Done).map(|(number, _)| *number).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(of_shop(&one).await, [named(0, &format!("old-{}", won[0])), key(won[0])]);
}

pub(crate) async fn a_key_that_cannot_be_read_is_named_and_hides_no_other<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    assert_eq!(put(&store, None, &named(2, "two")).await, Written::Done);
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Key, damage).await;
        let error = store.key(&key(1).digest).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { what: "a key", .. }), "{error:?}");
        assert!(error.to_string().contains(key(1).id().as_str()), "{error}");
        assert_eq!(of_shop(&store).await, [named(2, "two")]);
        assert_eq!(store.key(&key(2).digest).await.unwrap(), Some(named(2, "two")));
        // Nobody takes it for none, nor its name for free.
        assert!(matches!(store.put_key(None, &key(1)).await, Err(StoreError::Unreadable { .. })));
        assert_eq!(put(&store, None, &key(3)).await, Written::Lost);
    }
}
