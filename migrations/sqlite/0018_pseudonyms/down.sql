DROP TRIGGER consent_refs_no_update;
DROP INDEX consent_refs_by_shown;
ALTER TABLE consent_refs DROP COLUMN shown;
CREATE TRIGGER consent_refs_no_update BEFORE UPDATE ON consent_refs
WHEN NEW.consent_id IS NOT OLD.consent_id OR NEW.identity IS NOT OLD.identity OR NEW.ref IS NOT OLD.ref
BEGIN
    SELECT RAISE(ABORT, 'consent_refs is append-only: UPDATE refused');
END;
DROP INDEX hold_refs_by_shown;
ALTER TABLE hold_refs DROP COLUMN shown;
DROP INDEX request_refs_by_shown;
ALTER TABLE request_refs DROP COLUMN shown;
DROP TABLE period_keys;
