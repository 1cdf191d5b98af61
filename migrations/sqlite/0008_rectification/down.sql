ALTER TABLE open_requests RENAME COLUMN place TO ref;

CREATE TABLE request_refs_old (
    request_id    TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    identity      TEXT NOT NULL,
    ref           TEXT NOT NULL,
    PRIMARY KEY (request_id, identity)
) STRICT;
INSERT INTO request_refs_old SELECT request_id, identity, min(ref) FROM request_refs GROUP BY request_id, identity;
DROP TABLE request_refs;
ALTER TABLE request_refs_old RENAME TO request_refs;
CREATE INDEX request_refs_by_ref ON request_refs (ref);
