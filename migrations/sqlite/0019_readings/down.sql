DROP TABLE audit_readings;
