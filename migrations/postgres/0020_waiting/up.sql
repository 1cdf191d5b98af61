-- All events that have no place yet, and what waits although there is no such event. Many write at once here, so that no id
-- tells what has been committed: each event keeps its row in the queue.
CREATE VIEW log_waiting AS
    SELECT event_id, hash FROM log_queue LEFT JOIN audit_events ON id = event_id;
