-- One Merkle log (RFC 6962) over the events of all streams, and signed checkpoints of it (C2SP tlog-checkpoint): with a
-- checkpoint that is kept elsewhere, a cut tail and a rewritten history show.

-- Events that have no place in the log yet, written in the event's own transaction by whatever inserts it. The sequencer
-- takes them away in the transaction that gives them their place, so that none is left out and none has two.
CREATE TABLE log_queue (
    event_id      TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_events_queue AFTER INSERT ON audit_events
BEGIN
    INSERT INTO log_queue (event_id) VALUES (NEW.id);
END;
-- What was there before.
INSERT INTO log_queue (event_id) SELECT id FROM audit_events;

CREATE TABLE log_entries (
    -- From 0, without gaps.
    leaf_index    INTEGER NOT NULL PRIMARY KEY CHECK (leaf_index >= 0),
    event_id      TEXT NOT NULL UNIQUE,
    -- The hash of this leaf, and behind it those of the complete subtrees that it ends, each twice as large as the one
    -- before; 32 bytes each.
    hashes        BLOB NOT NULL CHECK (length(hashes) > 0 AND length(hashes) % 32 = 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    -- From 1, in the order in which they were signed.
    number        INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    -- Entries of the log that it speaks of.
    tree_size     INTEGER NOT NULL CHECK (tree_size >= 0),
    signed_at     TEXT NOT NULL,
    -- The signed note as it is published.
    note          TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Copies of checkpoints outside of this database: how far each place has got.
CREATE TABLE checkpoint_sinks (
    -- `file:PATH`, `store:PLACE` or `webhook:NAME`.
    name          TEXT NOT NULL PRIMARY KEY,
    -- The last checkpoint that was published there; 0: none yet.
    number        INTEGER NOT NULL CHECK (number >= 0),
    published_at  TEXT,
    -- Until then a process is at it.
    lease_until   TEXT,
    -- Failures in a row, when to try again, and why the last attempt failed.
    failures      INTEGER NOT NULL CHECK (failures >= 0),
    next_at       TEXT,
    failure       TEXT,
    CONSTRAINT published_has_a_time CHECK ((number = 0) = (published_at IS NULL))
) STRICT;

-- As audit_events: see there.
CREATE TRIGGER log_entries_no_update BEFORE UPDATE ON log_entries
BEGIN
    SELECT RAISE(ABORT, 'log_entries is append-only: UPDATE refused');
END;
CREATE TRIGGER log_entries_no_delete BEFORE DELETE ON log_entries
BEGIN
    SELECT RAISE(ABORT, 'log_entries is append-only: DELETE refused');
END;
CREATE TRIGGER log_entries_no_replace BEFORE INSERT ON log_entries
WHEN EXISTS (SELECT 1 FROM log_entries WHERE leaf_index = NEW.leaf_index)
  OR EXISTS (SELECT 1 FROM log_entries WHERE event_id = NEW.event_id)
BEGIN
    SELECT RAISE(ABORT, 'log_entries is append-only: REPLACE refused');
END;
CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints
BEGIN
    SELECT RAISE(ABORT, 'checkpoints is append-only: UPDATE refused');
END;
CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints
BEGIN
    SELECT RAISE(ABORT, 'checkpoints is append-only: DELETE refused');
END;
CREATE TRIGGER checkpoints_no_replace BEFORE INSERT ON checkpoints
WHEN EXISTS (SELECT 1 FROM checkpoints WHERE number = NEW.number)
BEGIN
    SELECT RAISE(ABORT, 'checkpoints is append-only: REPLACE refused');
END;
