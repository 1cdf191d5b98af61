-- An event is written together with its place in line only where it has to be. There is one writer at a time, and nearly
-- every event has a greater id than all that have a place: those are found by their ids, and need no row that is written,
-- and taken away, for each of them. The others (of a clock that was set back, or of another process) still get one.
DROP TRIGGER audit_events_queue;
CREATE TRIGGER audit_events_queue AFTER INSERT ON audit_events
WHEN NEW.id <= (SELECT max(event_id) FROM log_entries)
BEGIN
    INSERT INTO log_queue (event_id) VALUES (NEW.id);
END;
-- All events that have no place yet, and what waits although there is no such event.
CREATE VIEW log_waiting AS
    SELECT event_id, hash FROM log_queue LEFT JOIN audit_events ON id = event_id
    WHERE event_id <= (SELECT max(event_id) FROM log_entries)
    UNION ALL
    SELECT id, hash FROM audit_events
    WHERE id > (SELECT coalesce(max(event_id), '') FROM log_entries);
DELETE FROM log_queue WHERE event_id > (SELECT coalesce(max(event_id), '') FROM log_entries);
