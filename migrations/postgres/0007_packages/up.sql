-- The packages of completed exports. Their bytes lie in the object store, sealed with a key of their own; that key is
-- here alone, so that destroying it makes every copy of a package unreadable.
CREATE TABLE packages (
    request_id   text COLLATE "C" PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    -- The prefix of the package's parts in the object store.
    place        text NOT NULL,
    -- Bytes, as they are handed out.
    size         bigint NOT NULL CHECK (size >= 0),
    -- Hex, over the same bytes.
    sha256       text NOT NULL CHECK (length(sha256) = 64),
    -- Encrypted to a recipient: its bytes are an age file.
    encrypted    boolean NOT NULL,
    -- Wrapped; null once the package has expired.
    wrapped_key  bytea,
    created_at   timestamp NOT NULL,
    expires_at   timestamp NOT NULL,
    expired_at   timestamp,
    -- The parts are gone from the object store too.
    removed      boolean NOT NULL,
    CHECK ((wrapped_key IS NULL) = (expired_at IS NOT NULL))
);
CREATE INDEX packages_to_expire ON packages (expires_at) WHERE expired_at IS NULL;
CREATE INDEX packages_to_remove ON packages (expired_at) WHERE expired_at IS NOT NULL AND NOT removed;

-- Links that hand a package out once, to whoever has them.
CREATE TABLE package_links (
    -- SHA-256 of the link's secret, hex: a copy of the store opens nothing.
    hash         text COLLATE "C" PRIMARY KEY,
    request_id   text COLLATE "C" NOT NULL REFERENCES packages (request_id) ON DELETE CASCADE,
    created_by   text NOT NULL,
    expires_at   timestamp NOT NULL,
    used_at      timestamp
);
CREATE INDEX package_links_by_request ON package_links (request_id);
