-- The duty to answer (GDPR Art. 12): who was told what and when, beside the work itself.

-- JSON: identity check, extension, denial, answer, reminder. `due_at` follows from it: the year 9999 while the month stands still.
ALTER TABLE requests ADD COLUMN answering TEXT NOT NULL DEFAULT '{}';
-- When the person was told; null until then. Of `answering`, for the queries below.
ALTER TABLE requests ADD COLUMN answered_at TEXT;
-- When somebody was last reminded. Of `answering` too.
ALTER TABLE requests ADD COLUMN reminded_at TEXT;

-- Late is what is not answered, whatever its status.
DROP INDEX requests_open_by_due;
CREATE INDEX requests_unanswered_by_due ON requests (due_at, id) WHERE answered_at IS NULL;
