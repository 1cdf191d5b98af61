-- One Merkle log (RFC 6962) over the events of all streams, and signed checkpoints of it (C2SP tlog-checkpoint): with a
-- checkpoint that is kept elsewhere, a cut tail and a rewritten history show.

-- Events that have no place in the log yet, written in the event's own transaction by whatever inserts it. The sequencer
-- takes them away in the transaction that gives them their place, so that none is left out and none has two.
CREATE TABLE log_queue (
    event_id      text COLLATE "C" PRIMARY KEY
);
-- Small, and emptied all the time.
ALTER TABLE log_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE FUNCTION audit_events_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log_queue (event_id) SELECT id FROM added;
    RETURN NULL;
END
$$;
-- Its lock waits for every transaction that has inserted events, so that the statement behind it sees them.
CREATE TRIGGER audit_events_queue AFTER INSERT ON audit_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION audit_events_queue();
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_queue;
-- What was there before.
INSERT INTO log_queue (event_id) SELECT id FROM audit_events;

CREATE TABLE log_entries (
    -- From 0, without gaps.
    leaf_index    bigint PRIMARY KEY CHECK (leaf_index >= 0),
    event_id      text COLLATE "C" NOT NULL UNIQUE,
    -- The hash of this leaf, and behind it those of the complete subtrees that it ends, each twice as large as the one
    -- before; 32 bytes each.
    hashes        bytea NOT NULL CHECK (length(hashes) > 0 AND length(hashes) % 32 = 0)
);

CREATE TABLE checkpoints (
    -- From 1, in the order in which they were signed.
    number        bigint PRIMARY KEY CHECK (number > 0),
    -- Entries of the log that it speaks of.
    tree_size     bigint NOT NULL CHECK (tree_size >= 0),
    signed_at     timestamp NOT NULL,
    -- The signed note as it is published.
    note          text NOT NULL
);

-- Copies of checkpoints outside of this database: how far each place has got.
CREATE TABLE checkpoint_sinks (
    -- `file:PATH`, `store:PLACE` or `webhook:NAME`.
    name          text PRIMARY KEY,
    -- The last checkpoint that was published there; 0: none yet.
    number        bigint NOT NULL CHECK (number >= 0),
    published_at  timestamp,
    -- Until then a process is at it.
    lease_until   timestamp,
    -- Failures in a row, when to try again, and why the last attempt failed.
    failures      integer NOT NULL CHECK (failures >= 0),
    next_at       timestamp,
    failure       text,
    CONSTRAINT published_has_a_time CHECK ((number = 0) = (published_at IS NULL))
);

-- As audit_events: see there.
CREATE FUNCTION log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER log_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_entries
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse();
ALTER TABLE log_entries ENABLE ALWAYS TRIGGER log_entries_append_only;
CREATE TRIGGER checkpoints_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse();
ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER checkpoints_append_only;
