-- A person whose identity was corrected is held under the old value and the new one.
CREATE TABLE hold_refs_new (
    hold_id       TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    identity      TEXT NOT NULL,
    ref           TEXT NOT NULL,
    PRIMARY KEY (hold_id, identity, ref)
) STRICT;
INSERT INTO hold_refs_new (hold_id, identity, ref) SELECT hold_id, identity, ref FROM hold_refs;
DROP TABLE hold_refs;
ALTER TABLE hold_refs_new RENAME TO hold_refs;
CREATE INDEX hold_refs_by_ref ON hold_refs (ref);
