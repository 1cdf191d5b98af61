-- Rectification (GDPR Art. 16). A person whose identity is corrected is known by two pseudonyms of it: the log is asked
-- for the old one and for the new one.
CREATE TABLE request_refs_new (
    request_id    TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    -- The identity's name in the plan.
    identity      TEXT NOT NULL,
    ref           TEXT NOT NULL,
    PRIMARY KEY (request_id, identity, ref)
) STRICT;
INSERT INTO request_refs_new SELECT request_id, identity, ref FROM request_refs;
DROP TABLE request_refs;
ALTER TABLE request_refs_new RENAME TO request_refs;
CREATE INDEX request_refs_by_ref ON request_refs (ref);

-- No longer always a pseudonym: two rectifications of one person are duplicates only if they change the same, so their
-- place is a keyed hash over the pseudonym and the changes.
ALTER TABLE open_requests RENAME COLUMN ref TO place;
