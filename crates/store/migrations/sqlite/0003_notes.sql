-- Notes of people: tags, and key-values that can be taken away again. What was taken away stays as a row that is
-- not present, so that an older change which arrives later does not bring it back.

CREATE TABLE tags (
    call    INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    tag     TEXT    NOT NULL,
    present INTEGER NOT NULL, -- 0 or 1
    changed INTEGER NOT NULL,
    PRIMARY KEY (call, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags (tag, call) WHERE present = 1;

ALTER TABLE metadata ADD COLUMN present INTEGER NOT NULL DEFAULT 1;
