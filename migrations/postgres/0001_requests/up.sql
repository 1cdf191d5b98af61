-- Requests, what is sealed with them, and what keeps two of them apart.
-- Ids, enums and JSON are text and times naive UTC on both databases, so that every query is written once.
-- COLLATE "C": keyset pages and prefix ranges compare bytes, as SQLite does, whatever the database's locale.

-- The request is the job: there is no second table to fall out of step with.
CREATE TABLE requests (
    -- UUIDv7.
    id            text COLLATE "C" PRIMARY KEY,
    -- The contract's words, also those that a later version will write: SQLite cannot widen a CHECK in place.
    kind          text NOT NULL CHECK (kind IN ('erasure', 'export', 'rectification')),
    status        text NOT NULL CHECK (status IN ('pending', 'approved', 'in_progress', 'paused', 'on_hold',
                                                  'completed', 'failed', 'denied', 'cancelled')),
    -- Null until an end; keeps apart what must never look alike.
    outcome       text CHECK (outcome IN ('done', 'done_with_exceptions', 'no_match', 'partial', 'nothing_done')),
    -- The plan's name and the version this request is pinned to.
    plan          text COLLATE "C" NOT NULL,
    plan_version  text NOT NULL,
    -- The submitter's own reference, such as a ticket number.
    external_id   text,
    -- The token's `sub`.
    created_by    text NOT NULL,
    -- When the controller received it, GDPR Art. 12(3); the month is counted from here.
    submitted_at  timestamp NOT NULL,
    created_at    timestamp NOT NULL,
    due_at        timestamp NOT NULL,
    -- First claim.
    started_at    timestamp,
    finished_at   timestamp,
    -- The earliest time of the next claim.
    run_at        timestamp NOT NULL,
    -- Until then one worker owns the request; by the clock of this database.
    lease_until   timestamp,
    -- Raised by every claim and named by every later write: a worker that lost its lease changes no row.
    epoch         bigint NOT NULL CHECK (epoch >= 0),
    -- Claims so far, less those that were given back.
    attempt       integer NOT NULL CHECK (attempt >= 0),
    -- Claims in a row that ended in a crash without durable progress.
    strikes       integer NOT NULL CHECK (strikes >= 0),
    -- Failures that were retried since submission or the last `retry`.
    failures      integer NOT NULL CHECK (failures >= 0),
    -- Pauses in a row, for their backoff.
    waits         integer NOT NULL CHECK (waits >= 0),
    -- The person was looked up and the result recorded.
    resolved      boolean NOT NULL,
    -- A commit in a target was announced: from here on a failed or cancelled end is `partial`.
    touched       boolean NOT NULL,
    -- JSON: code, detail, connection, step, cause. Never a value from a row.
    error         text,
    -- Who asked to cancel while a worker held the request.
    cancelled_by  text,
    -- The root identity's pseudonym, once resolved.
    subject_ref   text,
    -- JSON: the steps with their counts. One value and not a table: it is always read and written whole.
    steps         text NOT NULL,
    -- Last event of the stream `request:<id>`, so that a cut tail of the log shows.
    audit_seq     bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash    text NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT ends_have_a_time CHECK
        ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'denied', 'cancelled'))),
    CONSTRAINT ends_have_an_outcome CHECK ((outcome IS NOT NULL) = (finished_at IS NOT NULL)),
    CONSTRAINT outcomes_fit_their_end CHECK (
        outcome IS NULL
        OR (status = 'completed' AND outcome IN ('done', 'done_with_exceptions', 'no_match'))
        OR (status <> 'completed' AND outcome IN ('partial', 'nothing_done'))),
    CONSTRAINT trouble_has_an_error CHECK (status NOT IN ('paused', 'failed') OR error IS NOT NULL),
    CONSTRAINT only_work_is_leased CHECK (lease_until IS NULL OR status = 'in_progress'),
    CONSTRAINT due_after_submission CHECK (due_at >= submitted_at)
) WITH (fillfactor = 70); -- Room for updates in place: every batch writes the row.

-- Claims: the oldest first. Partial, so that ended requests cost a claim nothing.
CREATE INDEX requests_claimable ON requests (run_at, id) WHERE finished_at IS NULL;
-- Lists, newest first, whole and by each filter that is selective.
CREATE INDEX requests_by_created ON requests (created_at, id);
CREATE INDEX requests_by_due ON requests (due_at, id);
-- What is late: partial, because ended requests are past their due time for ever.
CREATE INDEX requests_open_by_due ON requests (due_at, id) WHERE finished_at IS NULL;
CREATE INDEX requests_by_status ON requests (status, created_at, id);
CREATE INDEX requests_by_creator ON requests (created_by, created_at, id);
CREATE INDEX requests_by_external_id ON requests (external_id, created_at, id) WHERE external_id IS NOT NULL;

-- The data key of a request and what it seals at all times. One row, so that deleting it makes every copy of
-- the request's sealed data unreadable.
CREATE TABLE request_secrets (
    request_id    text COLLATE "C" PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    -- The random data key, wrapped under the configured one.
    wrapped_key   bytea NOT NULL,
    -- The subject as given and the reason, sealed under the data key.
    confidential  bytea NOT NULL
);

-- The key manifest: what must outlive the rows it was read from. Deleted when the request ends.
CREATE TABLE request_keys (
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    -- Names the part, such as `keys/3/17`; authenticated by the seal.
    part          text COLLATE "C" NOT NULL,
    sealed        bytea NOT NULL,
    PRIMARY KEY (request_id, part)
);

-- The pseudonyms that are known of a request's person: the given ones from the start, all after resolution.
CREATE TABLE request_refs (
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    -- The identity's name in the plan.
    identity      text COLLATE "C" NOT NULL,
    ref           text COLLATE "C" NOT NULL,
    PRIMARY KEY (request_id, identity)
);
-- "What was done with this person?"
CREATE INDEX request_refs_by_ref ON request_refs (ref);

-- One open request per kind, plan and person; the rows go when the request ends.
CREATE TABLE open_requests (
    kind          text NOT NULL,
    plan          text COLLATE "C" NOT NULL,
    ref           text COLLATE "C" NOT NULL,
    -- Deferred: the row is taken before the request's own, so that a duplicate costs no insert.
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE
                  DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (kind, plan, ref)
);
CREATE INDEX open_requests_by_request ON open_requests (request_id);

-- Requests of one person never run at once: taken with the resolved person, given back at the end.
CREATE TABLE subject_locks (
    ref           text COLLATE "C" PRIMARY KEY,
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE
);
CREATE INDEX subject_locks_by_request ON subject_locks (request_id);

-- Idempotency-Key: belongs to the token's `sub` and is kept as long as the request.
CREATE TABLE idempotency_keys (
    created_by    text NOT NULL,
    key           text NOT NULL,
    -- Keyed hash of the body.
    fingerprint   text NOT NULL,
    -- Deferred for the same reason as above.
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE
                  DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (created_by, key)
);
CREATE INDEX idempotency_keys_by_request ON idempotency_keys (request_id);
