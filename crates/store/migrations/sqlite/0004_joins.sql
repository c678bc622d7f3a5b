-- Calls that turned out to be one. A join is an edge between two calls; of those that are connected the one of the
-- lowest id survives. The rows of the others point to it, their segments and notes are its own.

CREATE TABLE joins (
    from_call INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    into_call INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL, -- when it was found, to the microsecond; of several of the same calls the first
    body      TEXT    NOT NULL, -- Join as JSON
    changed   INTEGER NOT NULL,
    PRIMARY KEY (from_call, into_call)
) STRICT, WITHOUT ROWID;
CREATE INDEX joins_by_into ON joins (into_call, from_call);

ALTER TABLE calls ADD COLUMN joined INTEGER; -- the call that survives; NULL: this one does
CREATE INDEX calls_joined ON calls (joined) WHERE joined IS NOT NULL;
-- What was told of a call that took others in, or whose sides were corrected, while data, started and ended are what
-- follows from that.
ALTER TABLE calls ADD COLUMN told_data TEXT;
ALTER TABLE calls ADD COLUMN told_started INTEGER;
ALTER TABLE calls ADD COLUMN told_ended INTEGER;

-- As which it was recorded, where that is another call than it belongs to now; NULL in rows of before: the same.
ALTER TABLE segments ADD COLUMN own_call INTEGER;
ALTER TABLE segments ADD COLUMN own_number INTEGER;
ALTER TABLE segments ADD COLUMN own_total INTEGER;
