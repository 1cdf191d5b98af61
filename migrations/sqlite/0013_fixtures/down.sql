DROP TABLE fixture_files;
