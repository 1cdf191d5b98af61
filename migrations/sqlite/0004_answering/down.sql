DROP INDEX requests_unanswered_by_due;
CREATE INDEX requests_open_by_due ON requests (due_at, id) WHERE finished_at IS NULL;
ALTER TABLE requests DROP COLUMN reminded_at;
ALTER TABLE requests DROP COLUMN answered_at;
ALTER TABLE requests DROP COLUMN answering;
