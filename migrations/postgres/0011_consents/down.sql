DROP TABLE consent_keys;
DROP TABLE consent_refs;
DROP TABLE consents;
DROP FUNCTION consents_refuse();
DROP FUNCTION consents_refuse_change();
DROP FUNCTION consent_refs_refuse_change();
