-- The tables of logs-ingest in PostgreSQL, version 3: where each event is to go, and who sent it.
--
-- As 001.sql: applied by the daemon, or by an administrator (psql -1 -f 003.sql) who owns the tables. It rewrites no rows.
-- Daemons of version 0.1.0 that are still connected can neither insert nor drain from then on (their statements name the
-- column traceparent) and keep their events in their spools: upgrade them.

ALTER TABLE raw_logs RENAME COLUMN traceparent TO trace_parent;
ALTER TABLE raw_logs
    ADD COLUMN topic        text, -- the Kafka topic that a held event is for; null: home, or held since before version 3
    ADD COLUMN cluster_id   text, -- the id of its Kafka cluster; null: not known when it was stored
    ADD COLUMN client       text, -- the name of the sender's API key
    ADD COLUMN x_request_id text, -- the sender's own name of its request
    ADD COLUMN stored_at    timestamptz NOT NULL DEFAULT now(); -- by this server's clock; in older rows, when version 3 came

ALTER TABLE dead_letters RENAME COLUMN traceparent TO trace_parent;
ALTER TABLE dead_letters
    ADD COLUMN topic        text,
    ADD COLUMN cluster_id   text,
    ADD COLUMN client       text,
    ADD COLUMN x_request_id text;

-- What is old enough to go, by the clock that will judge it.
DROP INDEX raw_logs_home;
CREATE INDEX raw_logs_home ON raw_logs (stored_at) WHERE state = 'home';

INSERT INTO logs_ingest_schema (version) VALUES (3);
