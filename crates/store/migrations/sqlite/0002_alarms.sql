-- Alarms, by what names them: kind, subject and when they were raised. They have no file behind them: a reindex
-- leaves them, and a catalog made anew is told again what is raised.
CREATE TABLE alarms (
    kind     TEXT    NOT NULL,
    subject  TEXT    NOT NULL, -- 'node:0', 'segment:06jv3kq4g2n00'
    raised   INTEGER NOT NULL,
    lasting  INTEGER NOT NULL, -- 1: a condition, which is cleared one day; 0: an incident
    cleared  INTEGER,
    severity TEXT    NOT NULL,
    tenant   TEXT    NOT NULL,
    node     INTEGER NOT NULL, -- whose alarm it is
    call     INTEGER,
    segment  INTEGER,
    count    INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    first    INTEGER NOT NULL, -- EventId of the change that was told of it first: names its place in lists
    changed  INTEGER NOT NULL, -- EventId of the newest change
    PRIMARY KEY (kind, subject, raised)
) STRICT, WITHOUT ROWID;
CREATE INDEX alarms_by_tenant ON alarms (tenant, raised, first);
CREATE INDEX alarms_active ON alarms (raised) WHERE lasting = 1 AND cleared IS NULL;
