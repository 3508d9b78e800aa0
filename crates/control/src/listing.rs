//! The first step of every flow: the node list, as far as it is usable.

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Listed, list};
use nodeweir_store::{FleetStore, StoreError};

/// Reads the table and writes the leaders that the configuration names and the table lacks.
pub async fn read<S: FleetStore>(store: &S, config: &Config) -> Result<Listed, StoreError> {
    let items = store.items().await?;
    let listed = list(&items, config);
    for missing in &listed.missing {
        // A lost race means that somebody else wrote it.
        let _ = store.put_item(None, missing).await?;
    }
    Ok(listed)
}
