-- The spool, version 2: how far an event's own time is from the time it was received.

ALTER TABLE raw_logs ADD COLUMN skew_ms INTEGER; -- milliseconds from `timestamp` to received_at
ALTER TABLE dead_letters ADD COLUMN skew_ms INTEGER;
