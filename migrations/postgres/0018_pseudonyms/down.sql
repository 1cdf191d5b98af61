ALTER TABLE consent_refs DROP COLUMN shown;
ALTER TABLE hold_refs DROP COLUMN shown;
ALTER TABLE request_refs DROP COLUMN shown;
DROP TABLE period_keys;
DROP FUNCTION period_keys_refuse;
