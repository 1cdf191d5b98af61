-- The ledger of completed erasures: a restored backup brings erased people back, and a replay erases them again.
-- A key, wrapped; another one begins where the configured `pseudonym_key` does not open it.
CREATE TABLE ledgers (
    -- Counted up from 1; names the stream `ledger:<id>`.
    id           text COLLATE "C" PRIMARY KEY,
    wrapped_key  bytea NOT NULL,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq    bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash   text NOT NULL CHECK (length(audit_hash) = 64)
);

-- One row per completed erasure. No key onto `requests`: an entry may outlive what is kept of its request.
CREATE TABLE erasure_ledger (
    -- UUIDv7.
    id            text COLLATE "C" PRIMARY KEY,
    ledger_id     text COLLATE "C" NOT NULL REFERENCES ledgers (id),
    -- The erasure that a person asked for.
    request_id    text COLLATE "C" NOT NULL UNIQUE,
    plan          text NOT NULL,
    -- A replay that erased the person once more moves it.
    completed_at  timestamp NOT NULL,
    -- The person's identities under the ledger's key.
    sealed        bytea NOT NULL
);
CREATE INDEX erasure_ledger_by_time ON erasure_ledger (ledger_id, completed_at);

-- What a replay run has to do, fixed when it begins, and what came of it.
CREATE TABLE replays (
    run_id      text COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- Of the ledger, where it may have expired since.
    entry_id    text COLLATE "C" NOT NULL,
    -- The erasure that a person asked for.
    erasure_id  text COLLATE "C" NOT NULL,
    plan        text NOT NULL,
    -- The request that erases again; null: none yet.
    request_id  text COLLATE "C",
    -- Why there can be none.
    code        text CHECK (code IN ('unknown_plan', 'unfit_identities', 'unreadable', 'expired')),
    PRIMARY KEY (run_id, entry_id),
    CONSTRAINT a_request_or_a_reason CHECK (request_id IS NULL OR code IS NULL)
);
