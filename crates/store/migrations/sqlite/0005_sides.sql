-- Who is agent and who is external, as people corrected it: of segments that were recorded as this call's.
CREATE TABLE sides (
    call    INTEGER NOT NULL PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL, -- when it was said, to the microsecond; the newest counts
    body    TEXT    NOT NULL, -- Sides as JSON
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
