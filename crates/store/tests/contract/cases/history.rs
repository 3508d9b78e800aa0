//! What was published, and what happened.

use nodeweir_store::{FleetStore, Kept, RevisionSummary, StoreError};

use crate::samples::{event, revision};
use crate::{Place, Row};

async fn numbers(store: &impl FleetStore, most: u32) -> Vec<u64> {
    store.revisions(most).await.unwrap().iter().map(|revision| revision.seq).collect()
}

pub(crate) async fn a_revision_stays_as_it_was_first_recorded(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!((one.revision(1).await.unwrap(), one.revisions(9).await.unwrap()), (None, vec![]));
    one.record_revision(&revision(1)).await.unwrap();
    other.record_revision(&revision(1)).await.unwrap();
    let mut usurper = revision(1);
    usurper.reason.push_str(", another");
    usurper.body.push_str("other {}\n");
    other.record_revision(&usurper).await.unwrap();
    assert_eq!(other.revision(1).await.unwrap(), Some(revision(1)));
    let kept = revision(1);
    let summary = RevisionSummary { seq: 1, name: kept.name(), at: kept.at, reason: kept.reason };
    assert_eq!(one.revisions(9).await.unwrap(), [summary]);
    assert_eq!(one.revision(2).await.unwrap(), None);
}

pub(crate) async fn revisions_come_newest_first(place: &impl Place) {
    let store = place.open().await;
    // A crash may leave one to be recorded late; 10 is after 9 although "10" is before "9".
    for seq in [9, 11, 2, 10] {
        store.record_revision(&revision(seq)).await.unwrap();
    }
    assert_eq!(numbers(&store, 100).await, [11, 10, 9, 2]);
    assert_eq!(numbers(&store, 2).await, [11, 10]);
    assert_eq!(numbers(&store, 0).await, [0; 0]);
}

pub(crate) async fn old_revisions_go(place: &impl Place) {
    let store = place.open().await;
    let kept = u64::from(Kept::REVISIONS);
    for seq in [1, 2, 3, kept, kept + 2] {
        store.record_revision(&revision(seq)).await.unwrap();
    }
    assert_eq!(numbers(&store, u32::MAX).await, [kept + 2, kept, 3]);
    assert_eq!(store.revision(2).await.unwrap(), None);
    // One that is too old to keep does not come back either.
    store.record_revision(&revision(1)).await.unwrap();
    assert_eq!(numbers(&store, u32::MAX).await, [kept + 2, kept, 3]);
}

pub(crate) async fn a_revision_that_cannot_be_read_is_named_and_hides_no_other<P: Place>(place: &P) {
    let store = place.open().await;
    for seq in 1..=3 {
        store.record_revision(&revision(seq)).await.unwrap();
    }
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Revision, damage).await;
        let error = store.revision(2).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        assert_eq!(store.revision(1).await.unwrap(), Some(revision(1)));
        assert_eq!(store.revision(3).await.unwrap(), Some(revision(3)));
        assert!([&[3, 2, 1][..], &[3, 1]].contains(&numbers(&store, 9).await.as_slice()));
    }
    store.record_revision(&revision(4)).await.unwrap();
}

pub(crate) async fn events_come_newest_first(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    one.record_events(&[]).await.unwrap();
    assert_eq!(one.events(9).await.unwrap(), []);
    // In the order in which they were recorded, whatever the clock said; the same thing may happen twice.
    one.record_events(&[event(5), event(1)]).await.unwrap();
    other.record_events(&[event(3)]).await.unwrap();
    one.record_events(&[event(3)]).await.unwrap();
    assert_eq!(other.events(9).await.unwrap(), [event(3), event(3), event(1), event(5)]);
    assert_eq!(other.events(3).await.unwrap(), [event(3), event(3), event(1)]);
    assert_eq!(other.events(0).await.unwrap(), []);
}

pub(crate) async fn an_event_that_cannot_be_read_hides_no_other<P: Place>(place: &P) {
    let store = place.open().await;
    store.record_events(&[event(1)]).await.unwrap();
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Event, damage).await;
    }
    store.record_events(&[event(2)]).await.unwrap();
    assert_eq!(store.events(9).await.unwrap(), [event(2), event(1)]);
}
