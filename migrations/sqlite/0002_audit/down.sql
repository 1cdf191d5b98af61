-- Its triggers go with it.
DROP TABLE audit_events;
