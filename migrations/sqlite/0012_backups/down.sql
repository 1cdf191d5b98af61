CREATE TABLE webhook_deliveries_old (
    id            TEXT NOT NULL PRIMARY KEY,
    endpoint      TEXT NOT NULL,
    request_id    TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    event         TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    attempts      INTEGER NOT NULL CHECK (attempts >= 0),
    next_at       TEXT,
    delivered_at  TEXT,
    failure       TEXT
) STRICT;
INSERT INTO webhook_deliveries_old (id, endpoint, request_id, event, body, created_at, attempts, next_at, delivered_at, failure)
    SELECT id, endpoint, request_id, event, body, created_at, attempts, next_at, delivered_at, failure FROM webhook_deliveries
    WHERE request_id IS NOT NULL;
DROP TABLE webhook_deliveries;
ALTER TABLE webhook_deliveries_old RENAME TO webhook_deliveries;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_request ON webhook_deliveries (request_id, id);
DROP TABLE backup_reports;
DROP TABLE backups;
