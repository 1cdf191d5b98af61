-- The audit log. Rows are added and never changed: the triggers refuse it even to the table's owner.
CREATE TABLE audit_events (
    -- UUIDv7: pages newest first need no second column.
    id            text COLLATE "C" PRIMARY KEY,
    -- `request:<id>` or `plan:<name>`: each stream is a hash chain of its own, so that writers never contend.
    stream        text COLLATE "C" NOT NULL,
    -- From 1, without gaps.
    seq           bigint NOT NULL CHECK (seq > 0),
    -- RFC 3339 with microseconds and Z. Text, because that very text is hashed.
    at            text COLLATE "C" NOT NULL,
    event         text NOT NULL,
    -- No foreign key: the log outlives what it tells of.
    request_id    text COLLATE "C",
    -- The subject's pseudonym.
    subject_ref   text COLLATE "C",
    -- A token's `sub`, `worker:HOST-PID` or `system`.
    actor         text NOT NULL,
    step          text,
    action        text,
    -- JSON, counts only.
    rows          text,
    -- JSON; no identity, no row value, no free text.
    details       text NOT NULL,
    prev_hash     text NOT NULL CHECK (length(prev_hash) = 64),
    hash          text NOT NULL CHECK (length(hash) = 64),
    UNIQUE (stream, seq)
);

-- The filters of the audit query, each newest first. Times need no index of their own: an id begins with its time.
CREATE INDEX audit_events_by_request ON audit_events (request_id, id);
CREATE INDEX audit_events_by_subject ON audit_events (subject_ref, id) WHERE subject_ref IS NOT NULL;
CREATE INDEX audit_events_by_event ON audit_events (event, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor, id);

CREATE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_events is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
-- Once per statement, so that it is refused even where no row would match.
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse();
-- Also under session_replication_role = replica, which skips ordinary triggers.
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_append_only;
