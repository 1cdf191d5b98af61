-- What the log and the API show of a person is taken under the key of a calendar month. The log is never changed; once a
-- month's key is destroyed, nothing leads from a person to the events of that month any more.

CREATE TABLE period_keys (
    -- UTC, `YYYY-MM`.
    period        TEXT NOT NULL PRIMARY KEY CHECK (length(period) = 7),
    -- 32 random bytes, wrapped; null once they were destroyed.
    wrapped_key   BLOB,
    created_at    TEXT NOT NULL,
    destroyed_at  TEXT,
    CONSTRAINT there_or_destroyed CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))
) STRICT;
-- A month that has lost its key gets no other one: its row stays.
CREATE TRIGGER period_keys_no_return BEFORE UPDATE ON period_keys
WHEN OLD.destroyed_at IS NOT NULL OR NEW.period IS NOT OLD.period
  OR (NEW.wrapped_key IS NOT NULL AND NEW.wrapped_key IS NOT OLD.wrapped_key)
BEGIN
    SELECT RAISE(ABORT, 'a key of period_keys may be destroyed, nothing else');
END;
CREATE TRIGGER period_keys_no_delete BEFORE DELETE ON period_keys
BEGIN
    SELECT RAISE(ABORT, 'a row of period_keys stays: DELETE refused');
END;

-- As the pseudonym is shown; `ref` is what is compared, and never leaves. From before: the same.
ALTER TABLE request_refs ADD COLUMN shown TEXT;
UPDATE request_refs SET shown = ref;
CREATE INDEX request_refs_by_shown ON request_refs (shown);
ALTER TABLE hold_refs ADD COLUMN shown TEXT;
UPDATE hold_refs SET shown = ref;
CREATE INDEX hold_refs_by_shown ON hold_refs (shown);
DROP TRIGGER consent_refs_no_update;
ALTER TABLE consent_refs ADD COLUMN shown TEXT;
UPDATE consent_refs SET shown = ref;
CREATE INDEX consent_refs_by_shown ON consent_refs (shown);
CREATE TRIGGER consent_refs_no_update BEFORE UPDATE ON consent_refs
WHEN NEW.consent_id IS NOT OLD.consent_id OR NEW.identity IS NOT OLD.identity OR NEW.ref IS NOT OLD.ref
  OR NEW.shown IS NOT OLD.shown
BEGIN
    SELECT RAISE(ABORT, 'consent_refs is append-only: UPDATE refused');
END;
