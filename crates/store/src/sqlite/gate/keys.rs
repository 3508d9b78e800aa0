//! Keys, found by digest.

use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::ProjectId;
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use crate::Written;
use crate::sqlite::{bad_row, readable, text, to_json};

macro_rules! columns {
    () => {
        "digest, project, name, created, expires, revoked, restrictions"
    };
}

fn read(row: &Row<'_>) -> rusqlite::Result<Key> {
    let digest = match row.get_ref(0)? {
        ValueRef::Blob(bytes) => bytes.try_into().map(KeyDigest).ok(),
        _ => None,
    };
    let digest = digest.ok_or_else(|| bad_row("a key", "its digest has not 32 bytes"))?;
    let bad =
        |what: &str, why: &dyn ToString| bad_row("a key", &format!("{}: {what}: {}", digest.id(), why.to_string()));
    let time = |column: usize, what: &str| -> rusqlite::Result<Option<Timestamp>> {
        let text = optional(row, column)?;
        text.map(|text| text.parse()).transpose().map_err(|error: jiff::Error| bad(what, &error))
    };
    let restrictions = match optional(row, 6)? {
        Some(text) => serde_json::from_str(&text).map_err(|error| bad("restrictions", &error))?,
        None => Restrictions::default(),
    };
    Ok(Key {
        digest,
        project: text(row, 1)?.parse().map_err(|error| bad("project", &error))?,
        name: text(row, 2)?.parse().map_err(|error| bad("name", &error))?,
        restrictions,
        created: time(3, "created")?.ok_or_else(|| bad("created", &"it is missing"))?,
        expires: time(4, "expires")?,
        revoked: time(5, "revoked")?,
    })
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    if matches!(row.get_ref(column)?, ValueRef::Null) { Ok(None) } else { text(row, column).map(Some) }
}

pub(super) fn find(tx: &Transaction<'_>, digest: &KeyDigest) -> rusqlite::Result<Option<Key>> {
    let sql = concat!("SELECT ", columns!(), " FROM keys WHERE digest = ?1");
    tx.prepare_cached(sql)?.query_row([digest.0], read).optional()
}

pub(super) fn of(tx: &Transaction<'_>, project: &ProjectId) -> rusqlite::Result<Vec<Key>> {
    let sql = concat!("SELECT ", columns!(), " FROM keys WHERE project = ?1");
    let mut keys = readable(tx.prepare_cached(sql)?.query_map([project.as_str()], read)?)?;
    keys.sort_by(|one, other| (&one.name, one.created, one.digest).cmp(&(&other.name, other.created, other.digest)));
    Ok(keys)
}

pub(super) fn put(tx: &Transaction<'_>, seen: Option<&Key>, key: &Key) -> rusqlite::Result<Written> {
    let moves = seen.is_some_and(|seen| seen.project != key.project);
    if moves || find(tx, &key.digest)?.as_ref() != seen || (key.revoked.is_none() && is_named(tx, key)?) {
        return Ok(Written::Lost);
    }
    write(tx, key)?;
    Ok(Written::Done)
}

pub(super) fn replace(tx: &Transaction<'_>, seen: &Key, old: &Key, new: &Key) -> rusqlite::Result<Written> {
    if put(tx, Some(seen), old)? == Written::Lost {
        return Ok(Written::Lost);
    }
    let written = put(tx, None, new)?;
    if written == Written::Lost {
        write(tx, seen)?;
    }
    Ok(written)
}

/// Whether another key of the project that is not revoked has its name.
fn is_named(tx: &Transaction<'_>, key: &Key) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM keys WHERE project = ?1 AND name = ?2 AND active = 1 AND digest <> ?3";
    tx.prepare_cached(sql)?.exists(params![key.project.as_str(), key.name.as_str(), key.digest.0])
}

fn write(tx: &Transaction<'_>, key: &Key) -> rusqlite::Result<()> {
    let restrictions = (key.restrictions != Restrictions::default()).then(|| to_json(&key.restrictions));
    let sql = concat!("INSERT OR REPLACE INTO keys (", columns!(), ", active) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    tx.execute(
        sql,
        params![
            key.digest.0,
            key.project.as_str(),
            key.name.as_str(),
            key.created.to_string(),
            key.expires.map(|at| at.to_string()),
            key.revoked.map(|at| at.to_string()),
            restrictions,
            key.revoked.is_none().then_some(1),
        ],
    )?;
    Ok(())
}
