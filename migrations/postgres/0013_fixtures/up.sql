-- Fixture files: which were loaded into which connection, and with which content. Their rows lie in the targets.
CREATE TABLE fixture_files (
    -- UUIDv7; names the stream `fixture:<id>`.
    id           text COLLATE "C" PRIMARY KEY,
    connection   text NOT NULL,
    -- Of an overlay; empty for the base, which every environment has.
    environment  text NOT NULL,
    -- The file's name below the folder of its connection.
    path         text NOT NULL,
    -- SHA-256 of the content that was loaded last, hex; null: none yet.
    hash         text CHECK (length(hash) = 64),
    loaded_at    timestamp,
    -- Rows of that content; null for SQL, which does not say.
    rows         bigint CHECK (rows >= 0),
    -- To be loaded again: somebody asked for it, or the base was loaded after this overlay and may have written over it.
    due          boolean NOT NULL,
    -- Raised with every claim; whoever writes names the one it has.
    epoch        bigint NOT NULL CHECK (epoch >= 0),
    -- Until then a process loads it; null: nobody does.
    lease_until  timestamp,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq    bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash   text NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT one_row_per_file UNIQUE (connection, environment, path),
    CONSTRAINT loads_have_a_time CHECK ((hash IS NULL) = (loaded_at IS NULL))
);
