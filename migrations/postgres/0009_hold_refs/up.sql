-- A person whose identity was corrected is held under the old value and the new one.
ALTER TABLE hold_refs DROP CONSTRAINT hold_refs_pkey;
ALTER TABLE hold_refs ADD PRIMARY KEY (hold_id, identity, ref);
