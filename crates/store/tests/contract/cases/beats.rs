//! Which sidecars say that they are there.

use nodeweir_domain::gate::census::Beat;
use nodeweir_store::GateStore;

use crate::Place;
use crate::samples::at;
use crate::samples::gate::sidecar;

fn beat(name: &str, number: u64) -> Beat {
    Beat { sidecar: sidecar(name), number, at: at(number) }
}

pub(crate) async fn the_last_beat_of_each_sidecar_is_kept(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(one.beats().await.unwrap(), []);
    for (store, beat) in [(&one, beat("b", 1)), (&other, beat("a", 7)), (&one, beat("b", 2))] {
        store.beat(&beat).await.unwrap();
    }
    assert_eq!(other.beats().await.unwrap(), [beat("a", 7), beat("b", 2)]);
    one.leave(&sidecar("a")).await.unwrap();
    // Nobody can say goodbye for too many.
    one.leave(&sidecar("nobody")).await.unwrap();
    assert_eq!(other.beats().await.unwrap(), [beat("b", 2)]);
    other.beat(&beat("a", 3)).await.unwrap();
    assert_eq!(one.beats().await.unwrap(), [beat("a", 3), beat("b", 2)]);
}
