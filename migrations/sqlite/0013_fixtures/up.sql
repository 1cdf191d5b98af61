-- Fixture files: which were loaded into which connection, and with which content. Their rows lie in the targets.
CREATE TABLE fixture_files (
    -- UUIDv7; names the stream `fixture:<id>`.
    id           TEXT NOT NULL PRIMARY KEY,
    connection   TEXT NOT NULL,
    -- Of an overlay; empty for the base, which every environment has.
    environment  TEXT NOT NULL,
    -- The file's name below the folder of its connection.
    path         TEXT NOT NULL,
    -- SHA-256 of the content that was loaded last, hex; null: none yet.
    hash         TEXT CHECK (length(hash) = 64),
    loaded_at    TEXT,
    -- Rows of that content; null for SQL, which does not say.
    rows         INTEGER CHECK (rows >= 0),
    -- To be loaded again: somebody asked for it, or the base was loaded after this overlay and may have written over it.
    due          INTEGER NOT NULL CHECK (due IN (0, 1)),
    -- Raised with every claim; whoever writes names the one it has.
    epoch        INTEGER NOT NULL CHECK (epoch >= 0),
    -- Until then a process loads it; null: nobody does.
    lease_until  TEXT,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq    INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash   TEXT NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT one_row_per_file UNIQUE (connection, environment, path),
    CONSTRAINT loads_have_a_time CHECK ((hash IS NULL) = (loaded_at IS NULL))
) STRICT;
