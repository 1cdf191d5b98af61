DROP TABLE keeps;
