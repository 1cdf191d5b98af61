-- Backups that were verified at least once, by their name in the configuration: who is verifying one, and where the chain
-- of its audit events stands. Reports outlive the configuration.
CREATE TABLE backups (
    name         text COLLATE "C" PRIMARY KEY,
    -- Of the verification that is under way.
    run_id       text,
    -- Then others may begin: its process is gone.
    lease_until  timestamp,
    -- Head of the chain `backup:NAME`; also the number of the newest report.
    audit_seq    bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash   text NOT NULL,
    CHECK ((run_id IS NULL) = (lease_until IS NULL))
);

-- What the last verifications of each came to.
CREATE TABLE backup_reports (
    name            text COLLATE "C" NOT NULL REFERENCES backups (name) ON DELETE CASCADE,
    -- Counted up for each backup, so that the newest is the newest also when the clock was set back.
    seq             bigint NOT NULL CHECK (seq > 0),
    ok              boolean NOT NULL,
    -- Words, separated by commas; empty where it is ok.
    reasons         text NOT NULL,
    -- For people: what is wrong, and what a command said.
    message         text,
    -- When the newest backup was made.
    last_success    timestamp,
    retention_days  integer,
    -- Bytes.
    size            bigint CHECK (size >= 0),
    checksum        text,
    -- JSON: rows by table, counted after a restore.
    tables          text NOT NULL,
    -- Of the verification.
    duration_ms     bigint NOT NULL CHECK (duration_ms >= 0),
    verified_at     timestamp NOT NULL,
    PRIMARY KEY (name, seq),
    CHECK (ok = (reasons = ''))
);

-- Webhooks are told of backups too, which belong to no request.
ALTER TABLE webhook_deliveries ALTER COLUMN request_id DROP NOT NULL;
