//! The node list, which people edit at the same time.

use nodeweir_domain::fleet::node::{Item, SecretRules, read_items};
use nodeweir_store::{FleetStore, Written};
use serde_json::json;

use crate::samples::{everything, item, network, node};
use crate::{Place, Row};

async fn the_item(store: &impl FleetStore) -> Option<Item> {
    store.items().await.unwrap().into_iter().find(|item| item.node == "a")
}

pub(crate) async fn an_item_is_kept_exactly_as_written(place: &impl Place) {
    let store = place.open().await;
    assert_eq!(store.items().await.unwrap(), []);
    // Also what is no name and no address: a bad item is shown as it is.
    for (network, node) in [("ethereum", "a"), ("Ethereum; drop", "näme \"'\n"), ("_", "../..")] {
        let item = item(network, node, everything());
        assert_eq!(store.put_item(None, &item).await.unwrap(), Written::Done);
        assert!(place.open().await.items().await.unwrap().contains(&item), "{network:?} {node:?}");
    }
    let empty = item("ethereum", "b", json!({}));
    assert_eq!(store.put_item(None, &empty).await.unwrap(), Written::Done);
    assert_eq!(store.items().await.unwrap().len(), 4);
}

pub(crate) async fn items_come_by_network_and_name(place: &impl Place) {
    let store = place.open().await;
    let names = [("b", "2"), ("b", "10"), ("a-b", "1"), ("a", "z"), ("b", "1"), ("a", "a-1"), ("a", "a")];
    for (network, node) in names {
        assert_eq!(store.put_item(None, &item(network, node, json!({}))).await.unwrap(), Written::Done);
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let items = store.items().await.unwrap();
    let found: Vec<_> = items.iter().map(|item| (item.network.as_str(), item.node.as_str())).collect();
    assert_eq!(found, sorted);
}

pub(crate) async fn an_item_is_written_only_over_what_was_seen(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let [first, second, third] =
        [1, 2, 3].map(|weight| item("ethereum", "a", json!({"url": "http://a", "weight": weight})));
    let put = async |seen: Option<&Item>, item: &Item| one.put_item(seen, item).await.unwrap();
    assert_eq!(put(Some(&first), &first).await, Written::Lost, "nothing is there to replace");
    assert_eq!(put(None, &first).await, Written::Done);
    assert_eq!(put(None, &second).await, Written::Lost, "there is one already");
    assert_eq!(put(Some(&third), &second).await, Written::Lost, "it is another one");
    assert_eq!(the_item(&other).await.as_ref(), Some(&first), "lost writes left no trace");
    assert_eq!(other.put_item(Some(&first), &second).await.unwrap(), Written::Done);
    assert_eq!(put(Some(&first), &third).await, Written::Lost, "the other was faster");
    assert_eq!(put(Some(&second), &third).await, Written::Done);
    assert_eq!(the_item(&other).await, Some(third));
}

pub(crate) async fn an_item_is_removed_only_as_it_was_seen(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let [first, second] = [1, 2].map(|weight| item("ethereum", "a", json!({"weight": weight})));
    let neighbour = item("ethereum", "b", json!({"weight": 1}));
    let same_name = item("polygon", "a", json!({"weight": 1}));
    assert_eq!(one.remove_item(&first).await.unwrap(), Written::Lost, "nothing is there");
    for item in [&first, &neighbour, &same_name] {
        assert_eq!(one.put_item(None, item).await.unwrap(), Written::Done);
    }
    assert_eq!(other.put_item(Some(&first), &second).await.unwrap(), Written::Done);
    assert_eq!(one.remove_item(&first).await.unwrap(), Written::Lost, "it was edited since");
    assert_eq!(one.remove_item(&second).await.unwrap(), Written::Done);
    assert_eq!(other.remove_item(&second).await.unwrap(), Written::Lost, "it is gone");
    assert_eq!(other.put_item(Some(&second), &first).await.unwrap(), Written::Lost, "it does not come back by an edit");
    assert_eq!(one.items().await.unwrap(), [neighbour, same_name]);
}

pub(crate) async fn an_item_equals_itself_in_any_order_of_keys(place: &impl Place) {
    let store = place.open().await;
    let one = item("ethereum", "a", json!({"url": "http://a", "cordon": {"by": "me", "why": ""}, "weight": 1}));
    let same = item("ethereum", "a", json!({"weight": 1, "cordon": {"why": "", "by": "me"}, "url": "http://a"}));
    assert_eq!(store.put_item(None, &one).await.unwrap(), Written::Done);
    assert_eq!(store.put_item(Some(&same), &same).await.unwrap(), Written::Done);
    assert_eq!(store.remove_item(&one).await.unwrap(), Written::Done);
}

pub(crate) async fn of_concurrent_edits_none_is_lost(place: &impl Place) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 15;
    let (one, other) = (place.open().await, place.open().await);
    let count = |count: u64| item("ethereum", "a", json!({"weight": count}));
    assert_eq!(one.put_item(None, &count(0)).await.unwrap(), Written::Done);
    let write = async |index: u64| {
        let store = if index.is_multiple_of(2) { &one } else { &other };
        for _ in 0..EACH {
            loop {
                let seen = the_item(store).await.unwrap();
                let more = count(seen.attributes["weight"].as_u64().unwrap() + 1);
                if store.put_item(Some(&seen), &more).await.unwrap() == Written::Done {
                    break;
                }
            }
        }
    };
    let writers = (0..WRITERS).map(write);
    futures_util::future::join_all(writers).await;
    assert_eq!(the_item(&one).await, Some(count(WRITERS * EACH)));
}

pub(crate) async fn an_item_that_cannot_be_read_is_refused_later_and_stops_nothing<P: Place>(place: &P) {
    let store = place.open().await;
    let good = item("ethereum", "b", json!({"url": "http://b:1"}));
    assert_eq!(store.put_item(None, &good).await.unwrap(), Written::Done);
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Item, damage).await;
        let items = store.items().await.unwrap();
        let leaders = [(network("ethereum"), node("infura"))].into();
        let listed = read_items(&items, &leaders, &SecretRules::default(), false);
        assert_eq!((listed.nodes.len(), listed.rejected.len()), (1, 1));
        assert_eq!(listed.rejected[0].node, "a");
        // A person can mend it as any other.
        let spoilt = the_item(&store).await.unwrap();
        let mended = item("ethereum", "a", json!({"url": "http://a:1"}));
        assert_eq!(store.put_item(None, &mended).await.unwrap(), Written::Lost);
        assert_eq!(store.put_item(Some(&spoilt), &mended).await.unwrap(), Written::Done);
        place.spoil(Row::Item, damage).await;
        assert_eq!(store.remove_item(&the_item(&store).await.unwrap()).await.unwrap(), Written::Done);
        assert_eq!(store.items().await.unwrap(), std::slice::from_ref(&good));
    }
}
