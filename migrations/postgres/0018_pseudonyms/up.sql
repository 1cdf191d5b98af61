-- What the log and the API show of a person is taken under the key of a calendar month. The log is never changed; once a
-- month's key is destroyed, nothing leads from a person to the events of that month any more.

CREATE TABLE period_keys (
    -- UTC, `YYYY-MM`.
    period        text COLLATE "C" PRIMARY KEY CHECK (length(period) = 7),
    -- 32 random bytes, wrapped; null once they were destroyed.
    wrapped_key   bytea,
    created_at    timestamp NOT NULL,
    destroyed_at  timestamp,
    CONSTRAINT there_or_destroyed CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))
);
-- A month that has lost its key gets no other one: its row stays.
CREATE FUNCTION period_keys_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.destroyed_at IS NULL AND NEW.period = OLD.period
       AND (NEW.wrapped_key IS NULL OR NEW.wrapped_key = OLD.wrapped_key) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a key of period_keys may be destroyed, nothing else: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER period_keys_no_return BEFORE UPDATE OR DELETE ON period_keys
    FOR EACH ROW EXECUTE FUNCTION period_keys_refuse();

-- As the pseudonym is shown; `ref` is what is compared, and never leaves. From before: the same.
ALTER TABLE request_refs ADD COLUMN shown text COLLATE "C";
UPDATE request_refs SET shown = ref;
CREATE INDEX request_refs_by_shown ON request_refs (shown);
ALTER TABLE hold_refs ADD COLUMN shown text COLLATE "C";
UPDATE hold_refs SET shown = ref;
CREATE INDEX hold_refs_by_shown ON hold_refs (shown);
ALTER TABLE consent_refs ADD COLUMN shown text COLLATE "C";
ALTER TABLE consent_refs DISABLE TRIGGER consent_refs_no_change;
UPDATE consent_refs SET shown = ref;
ALTER TABLE consent_refs ENABLE ALWAYS TRIGGER consent_refs_no_change;
CREATE INDEX consent_refs_by_shown ON consent_refs (shown);
