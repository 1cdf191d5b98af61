DROP TABLE checkpoint_sinks, checkpoints, log_entries;
DROP FUNCTION log_refuse;
DROP TRIGGER audit_events_queue ON audit_events;
DROP FUNCTION audit_events_queue;
DROP TABLE log_queue;
