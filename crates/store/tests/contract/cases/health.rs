//! Health: the last tick of each network, and what was concluded about each node.

use nodeweir_domain::fleet::judge::{Seen, Status};
use nodeweir_store::{FleetStore, Written};

use crate::samples::{at, network, node, seen, status};
use crate::{Place, Row};

pub(crate) async fn at_first_nothing_is_known(place: &impl Place) {
    assert!(place.open().await.health().await.unwrap().is_empty());
}

pub(crate) async fn what_is_written_is_read_again(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let (ethereum, a) = (network("ethereum"), node("a"));
    assert_eq!(one.put_status(&ethereum, &a, None, Some(&status(1))).await.unwrap(), Written::Done);
    assert_eq!(one.put_seen(&ethereum, None, &seen(1)).await.unwrap(), Written::Done);
    let health = &other.health().await.unwrap()[&ethereum];
    assert_eq!(health.statuses, [(a, status(1))].into());
    assert_eq!(health.seen, seen(1));
}

pub(crate) async fn a_tick_is_written_only_over_the_tick_that_was_read(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let ethereum = network("ethereum");
    let put = async |last: Option<u64>, new: &Seen| one.put_seen(&ethereum, last.map(at), new).await.unwrap();
    assert_eq!(put(Some(0), &seen(1)).await, Written::Lost, "there was no tick 0");
    assert_eq!(put(None, &seen(1)).await, Written::Done);
    assert_eq!(put(None, &seen(2)).await, Written::Lost, "there is a tick");
    assert_eq!(other.put_seen(&ethereum, Some(at(1)), &seen(2)).await.unwrap(), Written::Done);
    assert_eq!(put(Some(1), &seen(3)).await, Written::Lost, "another run was faster");
    assert_eq!(put(Some(2), &seen(2)).await, Written::Done, "the clock may stand still");
    assert_eq!(put(Some(2), &seen(1)).await, Written::Done, "or be set back");
    assert_eq!(one.health().await.unwrap()[&ethereum].seen, seen(1));
    // A tick without a time is none.
    assert_eq!(put(Some(1), &Seen::default()).await, Written::Done);
    assert_eq!(put(None, &seen(4)).await, Written::Done);
    assert_eq!(one.health().await.unwrap()[&ethereum].seen, seen(4));
}

pub(crate) async fn of_concurrent_ticks_one_wins(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let ethereum = network("ethereum");
    let put = async |index: u64| {
        let store = if index.is_multiple_of(2) { &one } else { &other };
        (index, store.put_seen(&ethereum, None, &seen(index)).await.unwrap())
    };
    let done = futures_util::future::join_all((1..=20).map(put)).await;
    let won: Vec<u64> = done.iter().filter(|(_, written)| *written == Written::Done).map(|(index, _)| *index).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(one.health().await.unwrap()[&ethereum].seen, seen(won[0]));
}

pub(crate) async fn a_status_is_written_only_over_what_was_seen(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let (ethereum, a) = (network("ethereum"), node("a"));
    let put = async |seen: Option<Status>, new: Option<Status>| {
        one.put_status(&ethereum, &a, seen.as_ref(), new.as_ref()).await.unwrap()
    };
    assert_eq!(put(Some(status(1)), Some(status(2))).await, Written::Lost, "there is none");
    assert_eq!(put(None, None).await, Written::Done, "none is as seen, and stays none");
    assert_eq!(put(None, Some(status(1))).await, Written::Done);
    assert_eq!(put(None, Some(status(2))).await, Written::Lost, "there is one");
    assert_eq!(put(Some(status(3)), Some(status(2))).await, Written::Lost, "it is another one");
    assert_eq!(other.put_status(&ethereum, &a, Some(&status(1)), Some(&status(2))).await.unwrap(), Written::Done);
    assert_eq!(put(Some(status(1)), None).await, Written::Lost, "the other was faster");
    assert_eq!(one.health().await.unwrap()[&ethereum].statuses[&a], status(2));
    assert_eq!(put(Some(status(2)), None).await, Written::Done);
    assert!(one.health().await.unwrap().get(&ethereum).is_none_or(|health| health.statuses.is_empty()));
}

pub(crate) async fn networks_and_nodes_are_apart(place: &impl Place) {
    let store = place.open().await;
    for (index, name) in [(1, "ethereum"), (2, "polygon")] {
        let network = network(name);
        assert_eq!(store.put_seen(&network, None, &seen(index)).await.unwrap(), Written::Done);
        for (more, name) in [(0, "a"), (10, "b")] {
            let written = store.put_status(&network, &node(name), None, Some(&status(index + more))).await;
            assert_eq!(written.unwrap(), Written::Done);
        }
    }
    let gone = store.put_status(&network("ethereum"), &node("b"), Some(&status(11)), None).await;
    assert_eq!(gone.unwrap(), Written::Done);
    let health = store.health().await.unwrap();
    let (ethereum, polygon) = (&health[&network("ethereum")], &health[&network("polygon")]);
    assert_eq!(ethereum.statuses, [(node("a"), status(1))].into());
    assert_eq!(polygon.statuses, [(node("a"), status(2)), (node("b"), status(12))].into());
    assert_eq!((&ethereum.seen, &polygon.seen), (&seen(1), &seen(2)));
}

pub(crate) async fn what_cannot_be_read_is_as_good_as_none<P: Place>(place: &P) {
    let store = place.open().await;
    let (ethereum, polygon, a, b) = (network("ethereum"), network("polygon"), node("a"), node("b"));
    assert_eq!(store.put_status(&ethereum, &b, None, Some(&status(1))).await.unwrap(), Written::Done);
    assert_eq!(store.put_seen(&polygon, None, &seen(1)).await.unwrap(), Written::Done);
    for damage in 0..P::DAMAGES {
        for row in [Row::Status, Row::NamelessStatus, Row::Seen] {
            place.spoil(row, damage).await;
        }
        let health = store.health().await.unwrap();
        assert_eq!(health[&ethereum].statuses, [(b.clone(), status(1))].into());
        assert_eq!(health[&ethereum].seen, Seen::default());
        assert_eq!(health[&polygon].seen, seen(1));
        // And it can be written over.
        assert_eq!(store.put_status(&ethereum, &a, None, Some(&status(2))).await.unwrap(), Written::Done);
        assert_eq!(store.put_seen(&ethereum, None, &seen(2)).await.unwrap(), Written::Done);
        let health = &store.health().await.unwrap()[&ethereum];
        assert_eq!((&health.statuses[&a], &health.seen), (&status(2), &seen(2)));
    }
}
