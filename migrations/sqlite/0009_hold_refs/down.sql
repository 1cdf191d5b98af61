CREATE TABLE hold_refs_new (
    hold_id       TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    identity      TEXT NOT NULL,
    ref           TEXT NOT NULL,
    PRIMARY KEY (hold_id, identity)
) STRICT;
INSERT INTO hold_refs_new (hold_id, identity, ref) SELECT hold_id, identity, min(ref) FROM hold_refs GROUP BY hold_id, identity;
DROP TABLE hold_refs;
ALTER TABLE hold_refs_new RENAME TO hold_refs;
CREATE INDEX hold_refs_by_ref ON hold_refs (ref);
