DROP INDEX consent_keys_by_consent;
DROP TABLE sweeps;
ALTER TABLE holds DROP COLUMN reduced_at;
ALTER TABLE holds DROP COLUMN identities_destroyed_at;
DROP TABLE swept_requests;
