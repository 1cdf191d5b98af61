-- Consents (GDPR Art. 7(1)): who gave or withdrew which, by which text. Rows are added and never changed; all that an
-- erasure takes away is what is sealed.
CREATE TABLE consents (
    -- UUIDv7; of one person's a later one has the greater id, whichever process recorded it.
    id            text COLLATE "C" PRIMARY KEY,
    -- The plan whose identities name the person.
    plan          text NOT NULL,
    -- A name, no free text.
    purpose       text COLLATE "C" NOT NULL,
    state         text NOT NULL CHECK (state IN ('given', 'withdrawn')),
    -- Which text was shown, and the SHA-256 of it.
    text_version  text NOT NULL,
    text_hash     text NOT NULL CHECK (length(text_hash) = 64),
    source        text NOT NULL,
    -- When the person did it.
    at            timestamp NOT NULL,
    recorded_by   text NOT NULL,
    recorded_at   timestamp NOT NULL,
    -- The data key of this consent, wrapped, and the person as given, sealed under it; null once the person was erased.
    wrapped_key   bytea,
    confidential  bytea,
    -- The one event of the stream `consent:<id>`.
    audit_seq     bigint NOT NULL CHECK (audit_seq > 0),
    audit_hash    text NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT what_is_sealed_has_its_key CHECK ((wrapped_key IS NULL) = (confidential IS NULL))
);
CREATE INDEX consents_by_time ON consents (at, id);
CREATE INDEX consents_by_purpose ON consents (purpose, at, id);
CREATE INDEX consents_by_recorder ON consents (recorded_by, at, id);

-- The pseudonyms that lead to a consent. They follow a correction of an identity; one that is given up stays to be seen.
CREATE TABLE consent_refs (
    consent_id    text COLLATE "C" NOT NULL REFERENCES consents (id),
    identity      text NOT NULL,
    ref           text COLLATE "C" NOT NULL,
    -- From then on it may be somebody else's.
    given_up_at   timestamp,
    PRIMARY KEY (consent_id, identity, ref)
);
CREATE INDEX consent_refs_by_ref ON consent_refs (ref);

CREATE TABLE consent_keys (
    recorded_by   text NOT NULL,
    key           text NOT NULL,
    -- Keyed hash of the body.
    fingerprint   text NOT NULL,
    -- Deferred: it is taken before the consent is there.
    consent_id    text COLLATE "C" NOT NULL REFERENCES consents (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (recorded_by, key)
);

CREATE FUNCTION consents_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
-- What is sealed may be destroyed, nothing else.
CREATE FUNCTION consents_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.wrapped_key IS NULL AND NEW.confidential IS NULL
       AND to_jsonb(NEW) - ARRAY['wrapped_key', 'confidential'] = to_jsonb(OLD) - ARRAY['wrapped_key', 'confidential'] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'consents is append-only: UPDATE refused' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- A pseudonym may be given up, and become the person's again.
CREATE FUNCTION consent_refs_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'given_up_at' = to_jsonb(OLD) - 'given_up_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'consent_refs is append-only: UPDATE refused' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER consents_append_only BEFORE DELETE OR TRUNCATE ON consents
    FOR EACH STATEMENT EXECUTE FUNCTION consents_refuse();
CREATE TRIGGER consents_no_change BEFORE UPDATE ON consents
    FOR EACH ROW EXECUTE FUNCTION consents_refuse_change();
CREATE TRIGGER consent_refs_append_only BEFORE DELETE OR TRUNCATE ON consent_refs
    FOR EACH STATEMENT EXECUTE FUNCTION consents_refuse();
CREATE TRIGGER consent_refs_no_change BEFORE UPDATE ON consent_refs
    FOR EACH ROW EXECUTE FUNCTION consent_refs_refuse_change();
-- Also under session_replication_role = replica, which skips ordinary triggers.
ALTER TABLE consents ENABLE ALWAYS TRIGGER consents_append_only;
ALTER TABLE consents ENABLE ALWAYS TRIGGER consents_no_change;
ALTER TABLE consent_refs ENABLE ALWAYS TRIGGER consent_refs_append_only;
ALTER TABLE consent_refs ENABLE ALWAYS TRIGGER consent_refs_no_change;
