DROP TABLE package_links;
DROP TABLE packages;
