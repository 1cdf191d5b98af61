-- The packages of completed exports. Their bytes lie in the object store, sealed with a key of their own; that key is
-- here alone, so that destroying it makes every copy of a package unreadable.
CREATE TABLE packages (
    request_id   TEXT NOT NULL PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    -- The prefix of the package's parts in the object store.
    place        TEXT NOT NULL,
    -- Bytes, as they are handed out.
    size         INTEGER NOT NULL CHECK (size >= 0),
    -- Hex, over the same bytes.
    sha256       TEXT NOT NULL CHECK (length(sha256) = 64),
    -- Encrypted to a recipient: its bytes are an age file.
    encrypted    INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
    -- Wrapped; null once the package has expired.
    wrapped_key  BLOB,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    expired_at   TEXT,
    -- The parts are gone from the object store too.
    removed      INTEGER NOT NULL CHECK (removed IN (0, 1)),
    CHECK ((wrapped_key IS NULL) = (expired_at IS NOT NULL))
) STRICT;
CREATE INDEX packages_to_expire ON packages (expires_at) WHERE expired_at IS NULL;
CREATE INDEX packages_to_remove ON packages (expired_at) WHERE expired_at IS NOT NULL AND removed = 0;

-- Links that hand a package out once, to whoever has them.
CREATE TABLE package_links (
    -- SHA-256 of the link's secret, hex: a copy of the store opens nothing.
    hash         TEXT NOT NULL PRIMARY KEY,
    request_id   TEXT NOT NULL REFERENCES packages (request_id) ON DELETE CASCADE,
    created_by   TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    used_at      TEXT
) STRICT;
CREATE INDEX package_links_by_request ON package_links (request_id);
