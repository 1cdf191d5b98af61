DROP TABLE idempotency_keys;
DROP TABLE subject_locks;
DROP TABLE open_requests;
DROP TABLE request_refs;
DROP TABLE request_keys;
DROP TABLE request_secrets;
DROP TABLE requests;
