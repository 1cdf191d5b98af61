DROP VIEW log_waiting;
