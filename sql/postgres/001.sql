-- The tables of logs-ingest in PostgreSQL, version 1: one row an event.
--
-- The daemon applies this file at its start when its role may create tables in the first schema of its
-- search_path. Where it may not, an administrator runs it there once (psql -1 -f 001.sql) and grants the
-- role SELECT on logs_ingest_schema and SELECT, INSERT, UPDATE, DELETE on the other two.
--
-- Typed columns are for people: U+0000 shows in them as U+FFFD. What is forwarded is payload:
-- convert_from(payload, 'UTF8')::json is the event, raw_data::json its free part.
-- No plain index on text: a btree entry has at most some 2,700 bytes, and the insert of a longer text would fail.

CREATE TABLE logs_ingest_schema (
    version    integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE logs_ingest_schema IS 'Versions of the tables of logs-ingest that were applied here';

CREATE TABLE raw_logs (
    seq             bigint           GENERATED ALWAYS AS IDENTITY, -- order of arrival here
    ingest_id       uuid             PRIMARY KEY,      -- the answer's X-Ingest-Id
    received_at     timestamptz      NOT NULL,         -- to the millisecond
    forwarded_at    timestamptz,                       -- when Kafka acknowledged it
    state           text             NOT NULL CHECK (state IN ('held', 'home')), -- waits for Kafka, or is at its destination
    reason          text             NOT NULL,         -- why it is here
    instance        text             NOT NULL,         -- the daemon that took it
    traceparent     text,
    event_timestamp text,                              -- the event's own timestamp, as sent
    request_id      text,
    service         text,
    env             text,
    action          text,
    level           text,
    message         text,
    user_id         text,
    product_id      text,
    price           double precision,
    quantity        bigint,
    error_code      text,
    stack           text,
    app_version     text,
    raw_data        text,                              -- JSON, verbatim
    payload         bytea            NOT NULL          -- the exact bytes that are forwarded
);
COMMENT ON TABLE raw_logs IS 'Log events: held for Kafka, or at home here';

-- What is next for Kafka, whatever else the table holds.
CREATE INDEX raw_logs_held ON raw_logs (seq) WHERE state = 'held' AND forwarded_at IS NULL;
-- What is old enough to go.
CREATE INDEX raw_logs_forwarded ON raw_logs (forwarded_at) WHERE forwarded_at IS NOT NULL;
CREATE INDEX raw_logs_home ON raw_logs (received_at) WHERE state = 'home';
-- For people who ask for a day: a few kilobytes however large the table is.
CREATE INDEX raw_logs_received_at ON raw_logs USING brin (received_at);

-- Events that no broker will have as they are.
CREATE TABLE dead_letters (
    seq             bigint           GENERATED ALWAYS AS IDENTITY,
    ingest_id       uuid             PRIMARY KEY,
    received_at     timestamptz      NOT NULL,
    failed_at       timestamptz      NOT NULL DEFAULT now(),
    error           text             NOT NULL,         -- what the broker said
    state           text             NOT NULL,
    reason          text             NOT NULL,
    instance        text             NOT NULL,
    traceparent     text,
    event_timestamp text,
    request_id      text,
    service         text,
    env             text,
    action          text,
    level           text,
    message         text,
    user_id         text,
    product_id      text,
    price           double precision,
    quantity        bigint,
    error_code      text,
    stack           text,
    app_version     text,
    raw_data        text,
    payload         bytea            NOT NULL
);
COMMENT ON TABLE dead_letters IS 'Log events that no Kafka broker will have as they are, with the reason';

INSERT INTO logs_ingest_schema (version) VALUES (1);
