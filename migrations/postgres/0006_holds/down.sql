DROP INDEX requests_by_hold;
ALTER TABLE requests DROP COLUMN hold_id;
DROP TABLE hold_refs;
DROP TABLE holds;
