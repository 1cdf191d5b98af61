ALTER TABLE open_requests RENAME COLUMN place TO ref;

DELETE FROM request_refs AS r USING request_refs AS kept
    WHERE kept.request_id = r.request_id AND kept.identity = r.identity AND kept.ref < r.ref;
ALTER TABLE request_refs DROP CONSTRAINT request_refs_pkey, ADD PRIMARY KEY (request_id, identity);
