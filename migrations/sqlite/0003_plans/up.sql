-- Every version of a plan that was ever registered; requests point here by name and version.
CREATE TABLE plan_versions (
    name          TEXT NOT NULL,
    -- `sha256:` and 64 hex digits.
    version       TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    -- The plan file's text as it was read.
    source        TEXT NOT NULL,
    -- JSON: what workers run from.
    compiled      TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- The current version of each plan, and the head of the stream `plan:<name>`.
CREATE TABLE plans (
    name          TEXT NOT NULL PRIMARY KEY,
    version       TEXT NOT NULL,
    -- When this version became the current one.
    registered_at TEXT NOT NULL,
    -- May differ from the version's in what does not count, such as comments.
    source        TEXT NOT NULL,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq     INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash    TEXT NOT NULL CHECK (length(audit_hash) = 64),
    FOREIGN KEY (name, version) REFERENCES plan_versions (name, version)
) STRICT;
