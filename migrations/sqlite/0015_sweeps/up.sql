-- How long the service keeps what is its own (GDPR Art. 5(1)(e)): first what is sealed goes, then what else leads to a
-- person. Counts and the audit log stay.

-- Ended requests whose identities were destroyed: they have no row in `request_secrets` and `request_keys` any more. A
-- table of its own, because no claim and no save has to do with it.
CREATE TABLE swept_requests (
    request_id               TEXT NOT NULL PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    identities_destroyed_at  TEXT NOT NULL,
    -- JSON: which columns a rectification has changed, and a keyed hash of all that it was asked for, because whether one
    -- that ended half-way was done again still has to be told.
    corrected                TEXT,
    -- When it lost what else leads to a person: its own reference, pseudonyms and idempotency key.
    reduced_at               TEXT,
    CONSTRAINT nothing_is_left CHECK (reduced_at IS NULL OR corrected IS NULL)
) STRICT;
CREATE INDEX swept_requests_to_reduce ON swept_requests (request_id) WHERE reduced_at IS NULL;

-- The same of holds that have ended. What was sealed becomes empty, since the columns are NOT NULL.
ALTER TABLE holds ADD COLUMN identities_destroyed_at TEXT
    CHECK (identities_destroyed_at IS NULL
           OR (ended_at IS NOT NULL AND length(wrapped_key) = 0 AND length(confidential) = 0));
-- When its pseudonyms went too.
ALTER TABLE holds ADD COLUMN reduced_at TEXT CHECK (reduced_at IS NULL OR identities_destroyed_at IS NOT NULL);

-- What has gone is told in one stream for each sweep. Whoever removes something has locked these rows, so that several
-- processes share the work and tell of it once.
CREATE TABLE sweeps (
    name          TEXT NOT NULL PRIMARY KEY,
    -- Last event of the stream `sweep:<name>`, so that a cut tail of the log shows.
    audit_seq     INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash    TEXT NOT NULL CHECK (length(audit_hash) = 64)
) STRICT;

-- Keys of consents go too, the oldest first.
CREATE INDEX consent_keys_by_consent ON consent_keys (consent_id);
