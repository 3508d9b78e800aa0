//! The rollback in force.

use nodeweir_domain::fleet::pin::Pin;
use nodeweir_store::{FleetStore, Written};

use crate::samples::pin;
use crate::{Place, Row};

pub(crate) async fn a_pin_is_replaced_only_as_it_was_seen(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let put = async |seen: Option<&Pin>, new: Option<&Pin>| one.put_pin(seen, new).await.unwrap();
    assert_eq!(one.pin().await.unwrap(), None);
    assert_eq!(put(Some(&pin(1)), Some(&pin(1))).await, Written::Lost, "there is none");
    assert_eq!(put(Some(&pin(1)), None).await, Written::Lost, "there is none to end");
    assert_eq!(put(None, Some(&pin(1))).await, Written::Done);
    assert_eq!(other.pin().await.unwrap(), Some(pin(1)));
    assert_eq!(put(None, Some(&pin(2))).await, Written::Lost, "there is one");
    assert_eq!(other.put_pin(Some(&pin(1)), Some(&pin(2))).await.unwrap(), Written::Done);
    assert_eq!(put(Some(&pin(1)), None).await, Written::Lost, "whoever ends one must not end its successor");
    assert_eq!(one.pin().await.unwrap(), Some(pin(2)));
    assert_eq!(put(Some(&pin(2)), None).await, Written::Done);
    assert_eq!(other.pin().await.unwrap(), None);
}

pub(crate) async fn of_concurrent_pins_one_wins(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let put = async |index: u64| {
        let store = if index.is_multiple_of(2) { &one } else { &other };
        (index, store.put_pin(None, Some(&pin(index))).await.unwrap())
    };
    let done = futures_util::future::join_all((1..=10).map(put)).await;
    let won: Vec<u64> = done.iter().filter(|(_, written)| *written == Written::Done).map(|(index, _)| *index).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(one.pin().await.unwrap(), Some(pin(won[0])));
}

pub(crate) async fn a_pin_that_cannot_be_read_is_as_good_as_none<P: Place>(place: &P) {
    let store = place.open().await;
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Pin, damage).await;
        assert_eq!(store.pin().await.unwrap(), None);
        assert_eq!(store.put_pin(None, Some(&pin(1))).await.unwrap(), Written::Done);
        assert_eq!(store.pin().await.unwrap(), Some(pin(1)));
    }
}
