-- Legal holds: data of these persons must not be erased (GDPR Art. 17(3), 18).
CREATE TABLE holds (
    -- UUIDv7.
    id            text COLLATE "C" PRIMARY KEY,
    -- The plan whose identities name the person.
    plan          text NOT NULL,
    -- What is held of the person: everything, that plan, or one table of it.
    scope         text NOT NULL CHECK (scope IN ('all_plans', 'plan', 'table')),
    -- `connection.table`, with scope `table`.
    held_table    text,
    ground        text NOT NULL,
    placed_by     text NOT NULL,
    placed_at     timestamp NOT NULL,
    -- Null: until somebody ends it.
    expires_at    timestamp,
    ended_by      text,
    ended_at      timestamp,
    -- The data key of this hold, wrapped, and the person as given and the reason, sealed under it.
    wrapped_key   bytea NOT NULL,
    confidential  bytea NOT NULL,
    -- Last event of the stream `hold:<id>`, so that a cut tail of the log shows.
    audit_seq     bigint NOT NULL CHECK (audit_seq >= 0),
    audit_hash    text NOT NULL CHECK (length(audit_hash) = 64),

    CONSTRAINT ends_have_an_author CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
    CONSTRAINT tables_fit_their_scope CHECK ((held_table IS NOT NULL) = (scope = 'table'))
);
CREATE INDEX holds_to_expire ON holds (expires_at, id) WHERE ended_at IS NULL;

-- The pseudonyms of the given identities: a request of the person knows at least one of them once it is resolved.
CREATE TABLE hold_refs (
    hold_id       text COLLATE "C" NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    identity      text NOT NULL,
    ref           text NOT NULL,
    PRIMARY KEY (hold_id, identity)
);
CREATE INDEX hold_refs_by_ref ON hold_refs (ref);

-- The hold that a request met, or that its worker has to heed between two batches.
ALTER TABLE requests ADD COLUMN hold_id text;
CREATE INDEX requests_by_hold ON requests (hold_id) WHERE hold_id IS NOT NULL;
