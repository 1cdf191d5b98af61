-- Their triggers go with them.
DROP TABLE consent_keys;
DROP TABLE consent_refs;
DROP TABLE consents;
