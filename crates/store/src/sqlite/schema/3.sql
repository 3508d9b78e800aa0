-- Which sidecars say that they are there; `at` is when they said so last, in seconds since 1970.
CREATE TABLE beats (
    sidecar TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What is being written of the lines after the position, as JSON; NULL if nothing is.
ALTER TABLE log_cursors ADD COLUMN ahead TEXT;
