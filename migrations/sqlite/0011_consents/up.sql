-- Consents (GDPR Art. 7(1)): who gave or withdrew which, by which text. Rows are added and never changed; all that an
-- erasure takes away is what is sealed.
CREATE TABLE consents (
    -- UUIDv7; of one person's a later one has the greater id, whichever process recorded it.
    id            TEXT NOT NULL PRIMARY KEY,
    -- The plan whose identities name the person.
    plan          TEXT NOT NULL,
    -- A name, no free text.
    purpose       TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('given', 'withdrawn')),
    -- Which text was shown, and the SHA-256 of it.
    text_version  TEXT NOT NULL,
    text_hash     TEXT NOT NULL CHECK (length(text_hash) = 64),
    source        TEXT NOT NULL,
    -- When the person did it.
    at            TEXT NOT NULL,
    recorded_by   TEXT NOT NULL,
    recorded_at   TEXT NOT NULL,
    -- The data key of this consent, wrapped, and the person as given, sealed under it; null once the person was erased.
    wrapped_key   BLOB,
    confidential  BLOB,
    -- The one event of the stream `consent:<id>`.
    audit_seq     INTEGER NOT NULL CHECK (audit_seq > 0),
    audit_hash    TEXT NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT what_is_sealed_has_its_key CHECK ((wrapped_key IS NULL) = (confidential IS NULL))
) STRICT, WITHOUT ROWID; -- No hidden rowid by which OR REPLACE could hit a row.
CREATE INDEX consents_by_time ON consents (at, id);
CREATE INDEX consents_by_purpose ON consents (purpose, at, id);
CREATE INDEX consents_by_recorder ON consents (recorded_by, at, id);

-- The pseudonyms that lead to a consent. They follow a correction of an identity; one that is given up stays to be seen.
CREATE TABLE consent_refs (
    consent_id    TEXT NOT NULL REFERENCES consents (id),
    identity      TEXT NOT NULL,
    ref           TEXT NOT NULL,
    -- From then on it may be somebody else's.
    given_up_at   TEXT,
    -- All that REPLACE could change of a row is therefore what may change.
    PRIMARY KEY (consent_id, identity, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_refs_by_ref ON consent_refs (ref);

CREATE TABLE consent_keys (
    recorded_by   TEXT NOT NULL,
    key           TEXT NOT NULL,
    -- Keyed hash of the body.
    fingerprint   TEXT NOT NULL,
    -- Deferred: it is taken before the consent is there.
    consent_id    TEXT NOT NULL REFERENCES consents (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (recorded_by, key)
) STRICT;

-- What is sealed may be destroyed, nothing else.
CREATE TRIGGER consents_no_update BEFORE UPDATE ON consents
WHEN NEW.wrapped_key IS NOT NULL OR NEW.confidential IS NOT NULL
  OR NEW.id IS NOT OLD.id OR NEW.plan IS NOT OLD.plan OR NEW.purpose IS NOT OLD.purpose OR NEW.state IS NOT OLD.state
  OR NEW.text_version IS NOT OLD.text_version OR NEW.text_hash IS NOT OLD.text_hash OR NEW.source IS NOT OLD.source
  OR NEW.at IS NOT OLD.at OR NEW.recorded_by IS NOT OLD.recorded_by OR NEW.recorded_at IS NOT OLD.recorded_at
  OR NEW.audit_seq IS NOT OLD.audit_seq OR NEW.audit_hash IS NOT OLD.audit_hash
BEGIN
    SELECT RAISE(ABORT, 'consents is append-only: UPDATE refused');
END;
CREATE TRIGGER consents_no_delete BEFORE DELETE ON consents
BEGIN
    SELECT RAISE(ABORT, 'consents is append-only: DELETE refused');
END;
-- INSERT OR REPLACE deletes the old row without firing a DELETE trigger: what would replace is refused here.
CREATE TRIGGER consents_no_replace BEFORE INSERT ON consents
WHEN EXISTS (SELECT 1 FROM consents WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'consents is append-only: REPLACE refused');
END;
-- A pseudonym may be given up, and become the person's again.
CREATE TRIGGER consent_refs_no_update BEFORE UPDATE ON consent_refs
WHEN NEW.consent_id IS NOT OLD.consent_id OR NEW.identity IS NOT OLD.identity OR NEW.ref IS NOT OLD.ref
BEGIN
    SELECT RAISE(ABORT, 'consent_refs is append-only: UPDATE refused');
END;
CREATE TRIGGER consent_refs_no_delete BEFORE DELETE ON consent_refs
BEGIN
    SELECT RAISE(ABORT, 'consent_refs is append-only: DELETE refused');
END;
