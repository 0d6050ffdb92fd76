-- The spool, version 1: log events kept on this machine, one row an event.
--
-- Read it with any SQLite 3.37 or newer while the daemon runs; never write to it beside the daemon.
-- Typed columns are for people: U+0000 shows in them as U+FFFD. What is forwarded is `payload`.
-- Short columns come first, so that reading them does not walk through a large payload's pages.

CREATE TABLE raw_logs (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival, never used twice
    ingest_id       TEXT    NOT NULL UNIQUE,           -- the answer's X-Ingest-Id
    received_at     TEXT    NOT NULL,                  -- UTC, milliseconds: sorts as text
    state           TEXT    NOT NULL CHECK (state IN ('held', 'home')), -- waits for Kafka, or is at its destination
    reason          TEXT    NOT NULL,                  -- why it is here
    instance        TEXT    NOT NULL,                  -- the daemon that took it
    traceparent     TEXT,
    crc             INTEGER NOT NULL,                  -- CRC-32 of what makes the event, not of its state
    event_timestamp TEXT,                              -- the event's own `timestamp`, as sent
    request_id      TEXT,
    service         TEXT,
    env             TEXT,
    action          TEXT,
    level           TEXT,
    message         TEXT,
    user_id         TEXT,
    product_id      TEXT,
    price           REAL,
    quantity        INTEGER,
    error_code      TEXT,
    app_version     TEXT,
    stack           TEXT,
    raw_data        TEXT,                              -- JSON, verbatim
    payload         BLOB    NOT NULL                   -- the exact bytes that are forwarded
) STRICT;

-- Entries of one state stand in the order of seq: the next held row and the oldest home row are one step away.
CREATE INDEX raw_logs_state ON raw_logs (state);

-- Events that the broker will not have as they are, or whose bytes no longer fit their checksum.
CREATE TABLE dead_letters (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    ingest_id       TEXT    NOT NULL UNIQUE,
    received_at     TEXT    NOT NULL,
    failed_at       TEXT    NOT NULL,
    error           TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    instance        TEXT    NOT NULL,
    traceparent     TEXT,
    crc             INTEGER NOT NULL,
    event_timestamp TEXT,
    request_id      TEXT,
    service         TEXT,
    env             TEXT,
    action          TEXT,
    level           TEXT,
    message         TEXT,
    user_id         TEXT,
    product_id      TEXT,
    price           REAL,
    quantity        INTEGER,
    error_code      TEXT,
    app_version     TEXT,
    stack           TEXT,
    raw_data        TEXT,
    payload         BLOB    NOT NULL
) STRICT;

-- The number of rows by state, kept in the transaction that changes them, so that a start need not
-- count a large file; and the version of this schema a second time, so that a damaged byte in the
-- file's header is told from a file made by a newer program. Every later version keeps this table.
CREATE TABLE figures (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO figures (name, value) VALUES ('schema_version', 1), ('held', 0), ('home', 0), ('dead_letters', 0);
