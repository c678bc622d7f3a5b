-- The catalog on PostgreSQL, first version: the same tables as in a file of SQLite (docs/catalog.md draws them).
--
-- Ids are time-ordered, so that calls, segments and events are parted by month by their ids alone, and keys stay as
-- they are. Partitions are made by callspool, ahead; what belongs to none lies in the default ones. Text is compared by
-- its octets, as SQLite does: prefixes are searched for, and both sort alike.

-- What is known of these tables before they are used.
CREATE TABLE schema_compat (
    one    BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (one),
    oldest BIGINT  NOT NULL, -- the migration that a callspool must know at least to use these tables
    made   TEXT    NOT NULL DEFAULT gen_random_uuid()::TEXT -- tells one catalog from another
);
INSERT INTO schema_compat (oldest) VALUES (1);

CREATE TABLE tenants (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

CREATE TABLE calls (
    id           BIGINT           NOT NULL PRIMARY KEY,
    tenant       TEXT COLLATE "C" NOT NULL REFERENCES tenants (name),
    told         BIGINT           NOT NULL,
    told_total   BIGINT           NOT NULL,
    data         TEXT COLLATE "C" NOT NULL,
    started      BIGINT           NOT NULL,
    ended        BIGINT,
    total        BIGINT           NOT NULL,
    segments     BIGINT           NOT NULL,
    state        BIGINT           NOT NULL,
    live         BIGINT           NOT NULL,
    changed      BIGINT           NOT NULL,
    search       TEXT COLLATE "C" NOT NULL,
    joined       BIGINT,
    told_data    TEXT COLLATE "C",
    told_started BIGINT,
    told_ended   BIGINT
) PARTITION BY RANGE (id);
CREATE TABLE calls_default PARTITION OF calls DEFAULT;
CREATE INDEX calls_by_start ON calls (tenant, started, id);
CREATE INDEX calls_by_state ON calls (tenant, state, started, id);
CREATE INDEX calls_live ON calls (tenant, started, id) WHERE live = 1;
CREATE INDEX calls_joined ON calls (joined) WHERE joined IS NOT NULL;

-- Parts of names and numbers, where the server has the extension and lets us. Without it a search goes through the calls
-- of the time that it is for.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX calls_by_text ON calls USING gin (search gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
    RAISE NOTICE 'no index for parts of words: %', SQLERRM;
END
$$;

CREATE TABLE segments (
    id         BIGINT           NOT NULL PRIMARY KEY,
    call       BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    number     BIGINT           NOT NULL,
    total      BIGINT           NOT NULL,
    node       BIGINT           NOT NULL,
    started    BIGINT           NOT NULL,
    ended      BIGINT,
    directory  TEXT COLLATE "C" NOT NULL,
    record     TEXT COLLATE "C" NOT NULL,
    changed    BIGINT           NOT NULL,
    own_call   BIGINT,
    own_number BIGINT,
    own_total  BIGINT
) PARTITION BY RANGE (id);
CREATE TABLE segments_default PARTITION OF segments DEFAULT;
CREATE INDEX segments_by_call ON segments (call, number, id);
CREATE INDEX segments_by_own_call ON segments (own_call);
CREATE INDEX segments_live ON segments (started, id) WHERE ended IS NULL;

CREATE TABLE elsewhere (
    segment   BIGINT           NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    node      BIGINT           NOT NULL,
    directory TEXT COLLATE "C" NOT NULL,
    record    TEXT COLLATE "C" NOT NULL,
    changed   BIGINT           NOT NULL,
    PRIMARY KEY (segment, node)
);

CREATE TABLE streams (
    id            BIGINT           NOT NULL PRIMARY KEY,
    segment       BIGINT           NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    slot          BIGINT           NOT NULL,
    label         TEXT COLLATE "C",
    kind          TEXT COLLATE "C" NOT NULL,
    side          TEXT COLLATE "C" NOT NULL,
    codec         TEXT COLLATE "C",
    received      BIGINT           NOT NULL,
    lost          BIGINT           NOT NULL,
    late          BIGINT           NOT NULL,
    duplicate     BIGINT           NOT NULL,
    dropped       BIGINT           NOT NULL,
    discarded     BIGINT           NOT NULL,
    jitter_max_us BIGINT           NOT NULL
);
CREATE INDEX streams_by_segment ON streams (segment, slot, id);

CREATE TABLE copies (
    kind    TEXT COLLATE "C" NOT NULL,
    of_id   BIGINT           NOT NULL,
    place   TEXT COLLATE "C" NOT NULL,
    call    BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    state   BIGINT           NOT NULL,
    changed BIGINT           NOT NULL,
    PRIMARY KEY (kind, of_id, place)
);
CREATE INDEX copies_by_call ON copies (call);

CREATE TABLE parties (
    call        BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    position    BIGINT           NOT NULL,
    role        TEXT COLLATE "C" NOT NULL,
    side        TEXT COLLATE "C" NOT NULL,
    uri         TEXT COLLATE "C",
    number      TEXT COLLATE "C",
    name        TEXT COLLATE "C",
    participant TEXT COLLATE "C",
    PRIMARY KEY (call, position)
);
CREATE INDEX parties_by_number ON parties (number, call) WHERE number IS NOT NULL;

CREATE TABLE tags (
    call    BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    tag     TEXT COLLATE "C" NOT NULL,
    present BIGINT           NOT NULL,
    changed BIGINT           NOT NULL,
    PRIMARY KEY (call, tag)
);
CREATE INDEX tags_by_tag ON tags (tag, call) WHERE present = 1;

CREATE TABLE metadata (
    call     BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    origin   TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    position BIGINT           NOT NULL,
    value    TEXT COLLATE "C" NOT NULL,
    started  BIGINT           NOT NULL,
    changed  BIGINT           NOT NULL,
    present  BIGINT           NOT NULL DEFAULT 1,
    PRIMARY KEY (call, origin, key, position)
);
-- An entry of an index holds some 2,700 octets; a value may have more.
CREATE INDEX metadata_by_value ON metadata (key, left(value, 256), started, call);

CREATE TABLE joins (
    from_call BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    into_call BIGINT           NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    at        BIGINT           NOT NULL,
    body      TEXT COLLATE "C" NOT NULL,
    changed   BIGINT           NOT NULL,
    PRIMARY KEY (from_call, into_call)
);
CREATE INDEX joins_by_into ON joins (into_call, from_call);

CREATE TABLE sides (
    call    BIGINT           NOT NULL PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    at      BIGINT           NOT NULL,
    body    TEXT COLLATE "C" NOT NULL,
    changed BIGINT           NOT NULL
);

-- The outbox. Several write it: transactions end in another order than their ids are given in. `written` is the
-- transaction; what is read is older than all that still run, so that nothing comes behind what was read.
CREATE TABLE events (
    id      BIGINT           NOT NULL PRIMARY KEY,
    at      BIGINT           NOT NULL,
    tenant  TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    call    BIGINT,
    segment BIGINT,
    body    TEXT COLLATE "C" NOT NULL,
    written xid8             NOT NULL DEFAULT pg_current_xact_id()
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_by_call ON events (call, id) WHERE call IS NOT NULL;
CREATE INDEX events_as_written ON events (written, id);

CREATE TABLE alarms (
    kind     TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    raised   BIGINT           NOT NULL,
    lasting  BIGINT           NOT NULL,
    cleared  BIGINT,
    severity TEXT COLLATE "C" NOT NULL,
    tenant   TEXT COLLATE "C" NOT NULL,
    node     BIGINT           NOT NULL,
    call     BIGINT,
    segment  BIGINT,
    count    BIGINT           NOT NULL,
    text     TEXT COLLATE "C" NOT NULL,
    first    BIGINT           NOT NULL,
    changed  BIGINT           NOT NULL,
    PRIMARY KEY (kind, subject, raised)
);
CREATE INDEX alarms_by_tenant ON alarms (tenant, raised, first);
CREATE INDEX alarms_active ON alarms (raised) WHERE lasting = 1 AND cleared IS NULL;

CREATE TABLE leases (
    name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    epoch  BIGINT           NOT NULL,
    until  BIGINT           NOT NULL
);
