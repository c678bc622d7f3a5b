-- More than one node: what each says of a segment that several have, and who may do what only one may.

-- Records of segments as other nodes tell them than the one whose record `segments` shows: the one that told last.
CREATE TABLE elsewhere (
    segment   INTEGER NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    node      INTEGER NOT NULL,
    directory TEXT    NOT NULL,
    record    TEXT    NOT NULL, -- SegmentRecord as JSON
    changed   INTEGER NOT NULL,
    PRIMARY KEY (segment, node)
) STRICT, WITHOUT ROWID;

-- A row stays when its lease is over: no epoch is given twice.
CREATE TABLE leases (
    name   TEXT    NOT NULL PRIMARY KEY,
    holder TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    until  INTEGER NOT NULL -- milliseconds since 1970-01-01 in UTC, by the clock of the database
) STRICT, WITHOUT ROWID;
