-- What is to be told to the configured webhooks. Written in the transaction of the change that it tells of, so that none
-- is lost and none tells of what did not happen.
CREATE TABLE webhook_deliveries (
    -- UUIDv7; the `webhook-id` of every attempt, so that a receiver can tell a repetition.
    id            text COLLATE "C" PRIMARY KEY,
    -- The webhook's name in the configuration.
    endpoint      text NOT NULL,
    request_id    text COLLATE "C" NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    -- The audit event that it tells of.
    event         text NOT NULL,
    -- The very text that is sent: JSON without personal data.
    body          text NOT NULL,
    created_at    timestamp NOT NULL,
    -- Attempts so far, the one under way included.
    attempts      integer NOT NULL CHECK (attempts >= 0),
    -- The next attempt; null once it was delivered or given up.
    next_at       timestamp,
    delivered_at  timestamp,
    -- Why the last attempt failed: a status or the kind of failure, never a text from outside.
    failure       text
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_request ON webhook_deliveries (request_id, id);
