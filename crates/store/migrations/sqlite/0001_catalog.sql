-- The catalog, first version. docs/catalog.md draws it.
--
-- Ids are the 64-bit ids of `model` (time-ordered), times are nanoseconds since 1970-01-01 in UTC, states are the
-- codes of `RecordingState`. `changed` is the EventId of the newest change that a row was written by: an older
-- change never overwrites a newer one.

CREATE TABLE tenants (
    name TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE calls (
    id         INTEGER NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL REFERENCES tenants (name),
    told       INTEGER NOT NULL, -- newest change about the call itself; 0: known from its segments or copies only
    told_total INTEGER NOT NULL, -- the total as that change said
    data       TEXT    NOT NULL, -- CallData as JSON
    started    INTEGER NOT NULL,
    ended      INTEGER,
    -- derived in the same transaction, so that lists can filter on them
    total      INTEGER NOT NULL,
    segments   INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    live       INTEGER NOT NULL, -- 0 or 1
    changed    INTEGER NOT NULL,
    search     TEXT    NOT NULL  -- names, numbers and values in lower case
) STRICT;
CREATE INDEX calls_by_start ON calls (tenant, started, id);
CREATE INDEX calls_by_state ON calls (tenant, state, started, id);
CREATE INDEX calls_live ON calls (tenant, started, id) WHERE live = 1;

CREATE TABLE segments (
    id        INTEGER NOT NULL PRIMARY KEY,
    call      INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    node      INTEGER NOT NULL,
    started   INTEGER NOT NULL,
    ended     INTEGER,
    directory TEXT    NOT NULL, -- relative to the repository of the node
    record    TEXT    NOT NULL, -- SegmentRecord as JSON
    changed   INTEGER NOT NULL
) STRICT;
CREATE INDEX segments_by_call ON segments (call, number, id);
CREATE INDEX segments_live ON segments (started, id) WHERE ended IS NULL;

CREATE TABLE streams (
    id            INTEGER NOT NULL PRIMARY KEY,
    segment       INTEGER NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    slot          INTEGER NOT NULL,
    label         TEXT,
    kind          TEXT    NOT NULL,
    side          TEXT    NOT NULL,
    codec         TEXT,             -- of the first payload type seen
    received      INTEGER NOT NULL, -- packets, as the following
    lost          INTEGER NOT NULL,
    late          INTEGER NOT NULL,
    duplicate     INTEGER NOT NULL,
    dropped       INTEGER NOT NULL,
    discarded     INTEGER NOT NULL,
    jitter_max_us INTEGER NOT NULL
) STRICT;
CREATE INDEX streams_by_segment ON streams (segment, slot, id);

CREATE TABLE copies (
    kind    TEXT    NOT NULL, -- 'segment' or 'call'
    of_id   INTEGER NOT NULL,
    place   TEXT    NOT NULL, -- 'node:0', 'archive:name'
    call    INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    state   INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (kind, of_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_by_call ON copies (call);

CREATE TABLE parties (
    call        INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    role        TEXT    NOT NULL,
    side        TEXT    NOT NULL,
    uri         TEXT,
    number      TEXT,
    name        TEXT,
    participant TEXT,
    PRIMARY KEY (call, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX parties_by_number ON parties (number, call) WHERE number IS NOT NULL;

CREATE TABLE metadata (
    call     INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    origin   TEXT    NOT NULL, -- 'data': from the call data; 'added': told later by a change of its own
    key      TEXT    NOT NULL,
    position INTEGER NOT NULL, -- several values of a key, as of sip-call-id
    value    TEXT    NOT NULL,
    started  INTEGER NOT NULL, -- of the call: a search in a time window needs no join
    changed  INTEGER NOT NULL,
    PRIMARY KEY (call, origin, key, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX metadata_by_value ON metadata (key, value, started, call);

-- The outbox: written with the rows that it tells of.
CREATE TABLE events (
    id      INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    tenant  TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    call    INTEGER,
    segment INTEGER,
    body    TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_call ON events (call, id) WHERE call IS NOT NULL;
