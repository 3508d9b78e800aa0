//! Projects: all in one partition, which lists them by name. DynamoDB divides one that is read much.

use nodeweir_domain::gate::project::Project;
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{Each, StoreError, Written};

use super::super::{DynamoStore, Query, Row, parse, string, to_text};
use crate::packed::pack;

const PROJECT: &str = "project";

fn read(store: &DynamoStore, row: &Row) -> Result<Project, StoreError> {
    let id = string(row, "id").unwrap_or_default();
    let bad = |why: String| DynamoStore::unreadable(&store.tables.gate, "a project", format!("{id}: {why}"));
    let project: Project = parse(row).map_err(bad)?;
    if project.id.as_str() == id { Ok(project) } else { Err(bad(format!("it says that it is {}", project.id))) }
}

pub(super) async fn find(store: &DynamoStore, id: &ProjectId) -> Result<Option<Project>, StoreError> {
    store.get(store.in_gate(PROJECT, id.as_str())).await?.map(|row| read(store, &row)).transpose()
}

pub(super) async fn find_each(store: &DynamoStore, ids: &[ProjectId]) -> Each<Option<Project>> {
    let places: Vec<_> = ids.iter().map(|id| store.in_gate(PROJECT, id.as_str())).collect();
    store.find_each(&places, |row| read(store, row)).await
}

pub(super) async fn all(store: &DynamoStore) -> Result<Vec<Project>, StoreError> {
    let rows = store.query(&Query::new(&store.tables.gate, "kind", PROJECT), u32::MAX).await?;
    Ok(rows.iter().filter_map(|row| read(store, row).ok()).collect())
}

pub(super) async fn put(store: &DynamoStore, seen: Option<&Project>, project: &Project) -> Result<Written, StoreError> {
    let place = store.in_gate(PROJECT, project.id.as_str());
    store.exchange(place, seen, place.row(pack(&to_text(project))), |row| read(store, row)).await
}
