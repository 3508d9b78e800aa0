-- What the gate keeps. `value` columns hold JSON as the domain's types write it.
CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- There may be millions, found by digest. Rows are small: what is not restricted has no `restrictions`, which are JSON.
-- `active` is 1 until the key is revoked, then NULL, and NULLs are all different: names are unique among the others.
CREATE TABLE keys (
    digest BLOB NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    active INTEGER,
    created TEXT NOT NULL,
    expires TEXT,
    revoked TEXT,
    restrictions TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX keys_by_name ON keys (project, name, active);

-- `lapses` is the second in which the first lease that holds credits ends; NULL if none does.
CREATE TABLE accounts (
    project TEXT NOT NULL,
    period TEXT NOT NULL,
    lapses INTEGER,
    value TEXT NOT NULL,
    PRIMARY KEY (project, period)
) WITHOUT ROWID;
CREATE INDEX accounts_by_lapse ON accounts (lapses) WHERE lapses IS NOT NULL;

CREATE TABLE log_cursors (
    log TEXT NOT NULL PRIMARY KEY,
    file INTEGER NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;

-- Rows of minutes and of days, told apart by their `span` in seconds; `start` is in seconds since 1970. The key begins
-- with the project, because that is what people ask for.
CREATE TABLE usage (
    project TEXT NOT NULL,
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    key TEXT NOT NULL,
    network TEXT NOT NULL,
    method TEXT NOT NULL,
    status INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY (project, span, start, key, network, method, status)
) WITHOUT ROWID;
