-- Backups that were verified at least once, by their name in the configuration: who is verifying one, and where the chain
-- of its audit events stands. Reports outlive the configuration.
CREATE TABLE backups (
    name         TEXT NOT NULL PRIMARY KEY,
    -- Of the verification that is under way.
    run_id       TEXT,
    -- Then others may begin: its process is gone.
    lease_until  TEXT,
    -- Head of the chain `backup:NAME`; also the number of the newest report.
    audit_seq    INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash   TEXT NOT NULL,
    CHECK ((run_id IS NULL) = (lease_until IS NULL))
) STRICT;

-- What the last verifications of each came to.
CREATE TABLE backup_reports (
    name            TEXT NOT NULL REFERENCES backups (name) ON DELETE CASCADE,
    -- Counted up for each backup, so that the newest is the newest also when the clock was set back.
    seq             INTEGER NOT NULL CHECK (seq > 0),
    ok              INTEGER NOT NULL CHECK (ok IN (0, 1)),
    -- Words, separated by commas; empty where it is ok.
    reasons         TEXT NOT NULL,
    -- For people: what is wrong, and what a command said.
    message         TEXT,
    -- When the newest backup was made.
    last_success    TEXT,
    retention_days  INTEGER,
    -- Bytes.
    size            INTEGER CHECK (size >= 0),
    checksum        TEXT,
    -- JSON: rows by table, counted after a restore.
    tables          TEXT NOT NULL,
    -- Of the verification.
    duration_ms     INTEGER NOT NULL CHECK (duration_ms >= 0),
    verified_at     TEXT NOT NULL,
    PRIMARY KEY (name, seq),
    CHECK ((ok = 1) = (reasons = ''))
) STRICT;

-- Webhooks are told of backups too, which belong to no request.
CREATE TABLE webhook_deliveries_new (
    id            TEXT NOT NULL PRIMARY KEY,
    endpoint      TEXT NOT NULL,
    -- Null for what concerns no request.
    request_id    TEXT REFERENCES requests (id) ON DELETE CASCADE,
    event         TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    attempts      INTEGER NOT NULL CHECK (attempts >= 0),
    next_at       TEXT,
    delivered_at  TEXT,
    failure       TEXT
) STRICT;
INSERT INTO webhook_deliveries_new (id, endpoint, request_id, event, body, created_at, attempts, next_at, delivered_at, failure)
    SELECT id, endpoint, request_id, event, body, created_at, attempts, next_at, delivered_at, failure FROM webhook_deliveries;
DROP TABLE webhook_deliveries;
ALTER TABLE webhook_deliveries_new RENAME TO webhook_deliveries;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_request ON webhook_deliveries (request_id, id);
