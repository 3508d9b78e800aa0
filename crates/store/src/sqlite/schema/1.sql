-- The embedded state. `value` columns hold JSON as the domain's types write it.
CREATE TABLE nodes (
    network TEXT NOT NULL,
    node TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (network, node)
) WITHOUT ROWID;

CREATE TABLE statuses (
    network TEXT NOT NULL,
    node TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (network, node)
) WITHOUT ROWID;

CREATE TABLE seen (
    network TEXT NOT NULL PRIMARY KEY,
    tick TEXT NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE revisions (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    at TEXT NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    value TEXT NOT NULL
);

-- Single values: `pin` (the rollback in force), `runtime` (what the running program says of itself), `edits` (counts
-- every edit a person makes, so that the running program notices).
CREATE TABLE singles (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
