-- The tables of logs-ingest in PostgreSQL, version 2: how far an event's own time is from the time it was received.
--
-- As 001.sql: applied by the daemon, or by an administrator (psql -1 -f 002.sql) who owns the tables.

ALTER TABLE raw_logs ADD COLUMN skew_ms bigint; -- milliseconds from timestamp to received_at
ALTER TABLE dead_letters ADD COLUMN skew_ms bigint;

INSERT INTO logs_ingest_schema (version) VALUES (2);
