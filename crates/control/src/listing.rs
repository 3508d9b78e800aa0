//! The first step of every flow: the node list, as far as it is usable.

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Listed, list};
use nodeweir_store::{FleetStore, StoreError};

/// Reads the table. Changes nothing: a leader that the table lacks stands in from the configuration.
pub async fn read<S: FleetStore>(store: &S, config: &Config) -> Result<Listed, StoreError> {
    Ok(list(&store.items().await?, config))
}

/// Reads the table and writes the leaders that it lacks, so that people can edit them.
pub async fn complete<S: FleetStore>(store: &S, config: &Config) -> Result<Listed, StoreError> {
    let listed = read(store, config).await?;
    for missing in &listed.missing {
        // A lost race means that somebody else wrote it.
        let _ = store.put_item(None, missing).await?;
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use nodeweir_store::sqlite::SqliteStore;

    use super::*;

    /// Once every reader wrote the missing leaders, so that `status` and each `--dry-run` changed the table.
    #[tokio::test]
    async fn who_only_reads_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let text = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}";
        let config = Config::read(text).unwrap();
        let read = read(&store, &config).await.unwrap();
        assert_eq!((read.nodes.len(), store.items().await.unwrap().len()), (1, 0));
        let completed = complete(&store, &config).await.unwrap();
        assert_eq!((completed.nodes, store.items().await.unwrap()), (read.nodes, read.missing));
    }
}
