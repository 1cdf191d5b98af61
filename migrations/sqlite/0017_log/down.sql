DROP TABLE checkpoint_sinks;
DROP TABLE checkpoints;
DROP TABLE log_entries;
DROP TRIGGER audit_events_queue;
DROP TABLE log_queue;
