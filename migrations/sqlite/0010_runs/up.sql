-- Runs: retention, verification of backups. Tracked like requests, and about no single person.
CREATE TABLE runs (
    -- UUIDv7.
    id              TEXT NOT NULL PRIMARY KEY,
    -- `retention:NAME` or `backup:NAME`.
    task            TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'in_progress', 'paused', 'on_hold',
                                                    'completed', 'failed', 'denied', 'cancelled')),
    outcome         TEXT CHECK (outcome IN ('done', 'done_with_exceptions', 'no_match', 'partial', 'nothing_done')),
    -- JSON: what was asked for. No resume changes it.
    params          TEXT NOT NULL,
    -- A token's `sub`, `cli:USER` or `schedule:NAME`.
    created_by      TEXT NOT NULL,
    -- Of a schedule: the moment it fired for, so that each firing becomes one run, whoever sees it first.
    idempotency_key TEXT,
    created_at      TEXT NOT NULL,
    started_at      TEXT,
    finished_at     TEXT,
    -- The earliest time of the next claim.
    run_at          TEXT NOT NULL,
    -- Until then one worker owns the run; by the clock of this database.
    lease_until     TEXT,
    -- Raised by every claim and named by every later write.
    epoch           INTEGER NOT NULL CHECK (epoch >= 0),
    attempt         INTEGER NOT NULL CHECK (attempt >= 0),
    strikes         INTEGER NOT NULL CHECK (strikes >= 0),
    failures        INTEGER NOT NULL CHECK (failures >= 0),
    waits           INTEGER NOT NULL CHECK (waits >= 0),
    -- Who asked for its end while a worker was at it.
    cancelled_by    TEXT,
    -- JSON: the tables with their counts.
    steps           TEXT NOT NULL,
    -- JSON: what came of it beside the counts. Never personal data.
    report          TEXT NOT NULL,
    error           TEXT,
    -- Last event of the stream `run:<id>`, so that a cut tail of the log shows.
    audit_seq       INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash      TEXT NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT ends_have_a_time CHECK
        ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'denied', 'cancelled'))),
    CONSTRAINT ends_have_an_outcome CHECK ((outcome IS NOT NULL) = (finished_at IS NOT NULL)),
    CONSTRAINT only_work_is_leased CHECK (lease_until IS NULL OR status = 'in_progress')
) STRICT;
CREATE INDEX runs_claimable ON runs (run_at, id) WHERE finished_at IS NULL;
CREATE INDEX runs_by_task ON runs (task, id);
CREATE UNIQUE INDEX runs_by_key ON runs (created_by, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Two runs of one task never go on beside each other.
CREATE UNIQUE INDEX runs_open ON runs (task) WHERE finished_at IS NULL;

-- When each schedule fires next: kept here and not in a process, so that a firing is nobody's or one's.
CREATE TABLE schedules (
    name            TEXT NOT NULL PRIMARY KEY,
    -- As the configuration has it; another one starts counting anew.
    timing          TEXT NOT NULL,
    -- Null where it never fires again.
    next_at         TEXT,
    -- The last moment it fired for, and the run that it became.
    fired_at        TEXT,
    run_id          TEXT,
    -- The last moment that was passed by because the run before was not over.
    skipped_at      TEXT
) STRICT;
