DROP TABLE replays;
DROP TABLE erasure_ledger;
DROP TABLE ledgers;
