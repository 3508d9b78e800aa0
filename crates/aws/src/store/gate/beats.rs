//! Which sidecars say that they are there: one small row each, all in one partition, which few hundred sidecars together
//! write less often than DynamoDB takes from one.

use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::name::SidecarId;
use nodeweir_store::{Kept, StoreError};

use super::super::{DynamoStore, Query, expiry, read, to_text};
use crate::packed::pack;

const SIDECAR: &str = "sidecar";

pub(super) async fn put(store: &DynamoStore, beat: &Beat) -> Result<(), StoreError> {
    let mut row = store.in_gate(SIDECAR, beat.sidecar.as_str()).row(pack(&to_text(beat)));
    row.insert("expires".to_owned(), expiry(Kept::BEATS));
    let table = &store.tables.gate;
    let put = store.client.put_item().table_name(table).set_item(Some(row)).send().await;
    put.map(drop).map_err(|error| DynamoStore::unavailable(table, &error))
}

pub(super) async fn all(store: &DynamoStore) -> Result<Vec<Beat>, StoreError> {
    let rows = store.query(&Query::new(&store.tables.gate, "kind", SIDECAR), u32::MAX).await?;
    Ok(rows.iter().filter_map(read).collect())
}

pub(super) async fn remove(store: &DynamoStore, sidecar: &SidecarId) -> Result<(), StoreError> {
    let place = store.in_gate(SIDECAR, sidecar.as_str());
    let gone = store.client.delete_item().table_name(place.table).set_key(Some(place.key())).send().await;
    gone.map(drop).map_err(|error| DynamoStore::unavailable(place.table, &error))
}
