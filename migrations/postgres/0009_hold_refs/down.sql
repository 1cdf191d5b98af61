DELETE FROM hold_refs AS later USING hold_refs AS first
WHERE later.hold_id = first.hold_id AND later.identity = first.identity AND later.ref > first.ref;
ALTER TABLE hold_refs DROP CONSTRAINT hold_refs_pkey;
ALTER TABLE hold_refs ADD PRIMARY KEY (hold_id, identity);
