-- Every version of a plan that was ever registered; requests point here by name and version.
CREATE TABLE plan_versions (
    name          text COLLATE "C" NOT NULL,
    -- `sha256:` and 64 hex digits.
    version       text COLLATE "C" NOT NULL,
    registered_at timestamp NOT NULL,
    -- The plan file's text as it was read.
    source        text NOT NULL,
    -- JSON: what workers run from.
    compiled      text NOT NULL,
    PRIMARY KEY (name, version)
);

-- The current version of each plan, and the head of the stream `plan:<name>`.
CREATE TABLE plans (
    name          text COLLATE "C" PRIMARY KEY,
    version       text COLLATE "C" NOT NULL,
    -- When this version became the current one.
    registered_at timestamp NOT NULL,
    -- May differ from the version's in what does not count, such as comments.
    source        text NOT NULL,
    -- Last event of the stream, so that a cut tail of the log shows.
    audit_seq     bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash    text NOT NULL CHECK (length(audit_hash) = 64),
    FOREIGN KEY (name, version) REFERENCES plan_versions (name, version)
);
