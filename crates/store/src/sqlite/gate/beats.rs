//! Which sidecars say that they are there.

use nodeweir_domain::gate::census::Beat;
use nodeweir_domain::name::SidecarId;
use rusqlite::{Transaction, params};

use crate::Kept;
use crate::sqlite::{bad_row, readable, text, to_json};

pub(super) fn put(tx: &Transaction<'_>, beat: &Beat) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO beats (sidecar, at, value) VALUES (?1, ?2, ?3)";
    let at = beat.at.as_second();
    tx.prepare_cached(sql)?.execute(params![beat.sidecar.as_str(), at, to_json(beat)])?;
    let kept = i64::try_from(Kept::BEATS.as_secs()).unwrap_or(i64::MAX);
    tx.prepare_cached("DELETE FROM beats WHERE at < ?1")?.execute([at.saturating_sub(kept)])?;
    Ok(())
}

pub(super) fn all(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Beat>> {
    let mut found = tx.prepare_cached("SELECT value FROM beats ORDER BY sidecar")?;
    let read = |row: &rusqlite::Row<'_>| {
        serde_json::from_str(&text(row, 0)?).map_err(|error| bad_row("a beat", &error.to_string()))
    };
    readable(found.query_map([], read)?)
}

pub(super) fn remove(tx: &Transaction<'_>, sidecar: &SidecarId) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM beats WHERE sidecar = ?1")?.execute([sidecar.as_str()])?;
    Ok(())
}
