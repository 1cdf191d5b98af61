DELETE FROM webhook_deliveries WHERE request_id IS NULL;
ALTER TABLE webhook_deliveries ALTER COLUMN request_id SET NOT NULL;
DROP TABLE backup_reports;
DROP TABLE backups;
