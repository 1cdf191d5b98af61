-- The audit log. Rows are added and never changed: the triggers refuse it even to the table's owner.
CREATE TABLE audit_events (
    -- UUIDv7: pages newest first need no second column.
    id            TEXT NOT NULL PRIMARY KEY,
    -- `request:<id>` or `plan:<name>`: each stream is a hash chain of its own, so that writers never contend.
    stream        TEXT NOT NULL,
    -- From 1, without gaps.
    seq           INTEGER NOT NULL CHECK (seq > 0),
    -- RFC 3339 with microseconds and Z. Text, because that very text is hashed.
    at            TEXT NOT NULL,
    event         TEXT NOT NULL,
    -- No foreign key: the log outlives what it tells of.
    request_id    TEXT,
    -- The subject's pseudonym.
    subject_ref   TEXT,
    -- A token's `sub`, `worker:HOST-PID` or `system`.
    actor         TEXT NOT NULL,
    step          TEXT,
    action        TEXT,
    -- JSON, counts only.
    rows          TEXT,
    -- JSON; no identity, no row value, no free text.
    details       TEXT NOT NULL,
    prev_hash     TEXT NOT NULL CHECK (length(prev_hash) = 64),
    hash          TEXT NOT NULL CHECK (length(hash) = 64),
    UNIQUE (stream, seq)
) STRICT, WITHOUT ROWID; -- No hidden rowid by which OR REPLACE could hit a row.

-- The filters of the audit query, each newest first. Times need no index of their own: an id begins with its time.
CREATE INDEX audit_events_by_request ON audit_events (request_id, id);
CREATE INDEX audit_events_by_subject ON audit_events (subject_ref, id) WHERE subject_ref IS NOT NULL;
CREATE INDEX audit_events_by_event ON audit_events (event, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor, id);

CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only: UPDATE refused');
END;
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only: DELETE refused');
END;
-- INSERT OR REPLACE deletes the old row without firing a DELETE trigger: what would replace is refused here.
CREATE TRIGGER audit_events_no_replace BEFORE INSERT ON audit_events
WHEN EXISTS (SELECT 1 FROM audit_events WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM audit_events WHERE stream = NEW.stream AND seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only: REPLACE refused');
END;
