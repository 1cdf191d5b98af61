INSERT INTO log_queue (event_id) SELECT event_id FROM log_waiting WHERE true ON CONFLICT DO NOTHING;
DROP VIEW log_waiting;
DROP TRIGGER audit_events_queue;
CREATE TRIGGER audit_events_queue AFTER INSERT ON audit_events
BEGIN
    INSERT INTO log_queue (event_id) VALUES (NEW.id);
END;
