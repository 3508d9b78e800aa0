//! Projects.

use nodeweir_domain::gate::project::Project;
use nodeweir_domain::name::ProjectId;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use crate::Written;
use crate::sqlite::{bad_row, readable, text, to_json};

fn read(row: &Row<'_>) -> rusqlite::Result<Project> {
    let project: Project =
        serde_json::from_str(&text(row, 1)?).map_err(|error| bad_row("a project", &format!("{}: {error}", id(row))))?;
    if project.id.as_str() == text(row, 0)? {
        Ok(project)
    } else {
        Err(bad_row("a project", &format!("{}: it says that it is {}", id(row), project.id)))
    }
}

fn id(row: &Row<'_>) -> String {
    text(row, 0).unwrap_or_default()
}

pub(super) fn find(tx: &Transaction<'_>, id: &ProjectId) -> rusqlite::Result<Option<Project>> {
    tx.prepare_cached("SELECT id, value FROM projects WHERE id = ?1")?.query_row([id.as_str()], read).optional()
}

pub(super) fn all(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Project>> {
    readable(tx.prepare_cached("SELECT id, value FROM projects ORDER BY id")?.query_map([], read)?)
}

pub(super) fn put(tx: &Transaction<'_>, seen: Option<&Project>, project: &Project) -> rusqlite::Result<Written> {
    if find(tx, &project.id)?.as_ref() != seen {
        return Ok(Written::Lost);
    }
    let sql = "INSERT OR REPLACE INTO projects (id, value) VALUES (?1, ?2)";
    tx.execute(sql, [project.id.as_str(), &to_json(project)])?;
    Ok(Written::Done)
}
