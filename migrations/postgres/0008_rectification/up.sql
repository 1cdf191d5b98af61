-- Rectification (GDPR Art. 16). A person whose identity is corrected is known by two pseudonyms of it: the log is asked
-- for the old one and for the new one.
ALTER TABLE request_refs DROP CONSTRAINT request_refs_pkey, ADD PRIMARY KEY (request_id, identity, ref);

-- No longer always a pseudonym: two rectifications of one person are duplicates only if they change the same, so their
-- place is a keyed hash over the pseudonym and the changes.
ALTER TABLE open_requests RENAME COLUMN ref TO place;
