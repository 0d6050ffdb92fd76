-- The spool, version 3: slim rows, held and home apart, so that a lone event touches one page or two.
--
-- `seq` is the order of arrival, given by the daemon and never used twice; held_rows and home_rows share it.
-- `ingest_id` has 16 bytes; a row whose id could not be read has other bytes. `received_at` and `failed_at` are
-- milliseconds since 1970. `payload` has the exact bytes that are forwarded, and `crc` covers everything else
-- beside `seq`. People read the views `raw_logs` and `dead_letters`, see 003-views.sql.
-- Every column stands in row.rs. Fresh spools begin here, without 001.sql and 002.sql.

CREATE TABLE IF NOT EXISTS figures (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE held_rows (
    seq INTEGER PRIMARY KEY, ingest_id BLOB NOT NULL, received_at INTEGER, skew_ms INTEGER, crc INTEGER NOT NULL,
    topic TEXT, cluster_id TEXT, client TEXT, x_request_id TEXT, traceparent TEXT, instance TEXT NOT NULL,
    reason TEXT NOT NULL, payload BLOB NOT NULL
) STRICT;

CREATE TABLE home_rows (
    seq INTEGER PRIMARY KEY, ingest_id BLOB NOT NULL, received_at INTEGER, skew_ms INTEGER, crc INTEGER NOT NULL,
    topic TEXT, cluster_id TEXT, client TEXT, x_request_id TEXT, traceparent TEXT, instance TEXT NOT NULL,
    reason TEXT NOT NULL, payload BLOB NOT NULL
) STRICT;

CREATE TABLE letter_rows (
    seq INTEGER PRIMARY KEY, ingest_id BLOB NOT NULL UNIQUE, received_at INTEGER, skew_ms INTEGER, crc INTEGER NOT NULL,
    topic TEXT, cluster_id TEXT, client TEXT, x_request_id TEXT, traceparent TEXT, instance TEXT NOT NULL,
    reason TEXT NOT NULL, payload BLOB NOT NULL,
    state TEXT NOT NULL, failed_at INTEGER NOT NULL, error TEXT NOT NULL
) STRICT;

-- Ids of held and home rows that a client's repeat may bring again. A random id (version 7) never comes twice.
CREATE TABLE derived_ids (seq INTEGER PRIMARY KEY, ingest_id BLOB NOT NULL UNIQUE) STRICT;

-- The counts are those of all rows up to `last_seq`: later rows are counted at start.
INSERT OR IGNORE INTO figures (name, value)
VALUES ('schema_version', 3), ('held', 0), ('home', 0), ('dead_letters', 0), ('last_seq', 0);
