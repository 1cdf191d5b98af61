-- Who reads the audit log stands in it too, in one stream for each day (UTC): readers take it in turn for the moment of one
-- insert, and no chain grows without end. The day's row is locked by whoever adds to its stream.
CREATE TABLE audit_readings (
    -- `2026-11-26`: the stream is `reading:<day>`.
    day           text COLLATE "C" PRIMARY KEY,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq     bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash    text NOT NULL CHECK (length(audit_hash) = 64)
);
