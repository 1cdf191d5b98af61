DROP TABLE schedules;
DROP TABLE runs;
