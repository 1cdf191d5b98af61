-- Completed erasures whose plan keeps rows for a time (`keep` with `until`), and when the first of them is over. Taken
-- away when the request is taken up again; while it is here, the request's sealed keys stay too.
CREATE TABLE keeps (
    request_id    TEXT NOT NULL PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    due_at        TEXT NOT NULL
) STRICT;
CREATE INDEX keeps_due ON keeps (due_at);
