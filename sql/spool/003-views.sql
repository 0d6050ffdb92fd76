-- The rows as people read them, in any SQLite from 3.38 on: one typed column per field of the event, made of its
-- payload. U+0000 shows as U+FFFD. Of a damaged payload there are no fields.

CREATE VIEW raw_logs AS
SELECT seq,
    CASE length(ingest_id)
        WHEN 16 THEN lower(substr(hex(ingest_id), 1, 8) || '-' || substr(hex(ingest_id), 9, 4) || '-'
            || substr(hex(ingest_id), 13, 4) || '-' || substr(hex(ingest_id), 17, 4) || '-' || substr(hex(ingest_id), 21))
        ELSE CAST(ingest_id AS TEXT)
    END AS ingest_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', received_at / 1000.0, 'unixepoch') AS received_at, state,
    topic, cluster_id, client, x_request_id, traceparent, instance, reason, crc, skew_ms, payload,
    event ->> '$.timestamp' AS event_timestamp,
    event ->> '$.request_id' AS request_id,
    event ->> '$.service' AS service,
    event ->> '$.env' AS env,
    event ->> '$.action' AS action,
    event ->> '$.level' AS level,
    event ->> '$.message' AS message,
    event ->> '$.user_id' AS user_id,
    event ->> '$.product_id' AS product_id,
    CAST(event ->> '$.price' AS REAL) AS price,
    CAST(event ->> '$.quantity' AS INTEGER) AS quantity,
    event ->> '$.error_code' AS error_code,
    event ->> '$.app_version' AS app_version,
    event ->> '$.stack' AS stack,
    event ->> '$.raw_data' AS raw_data
FROM (
    SELECT *, 'held' AS state, CASE WHEN json_valid(CAST(payload AS TEXT)) THEN
        replace(CAST(payload AS TEXT), '\u0000', '\ufffd') END AS event
    FROM held_rows
    UNION ALL
    SELECT *, 'home' AS state, CASE WHEN json_valid(CAST(payload AS TEXT)) THEN
        replace(CAST(payload AS TEXT), '\u0000', '\ufffd') END AS event
    FROM home_rows
);

CREATE VIEW dead_letters AS
SELECT seq,
    CASE length(ingest_id)
        WHEN 16 THEN lower(substr(hex(ingest_id), 1, 8) || '-' || substr(hex(ingest_id), 9, 4) || '-'
            || substr(hex(ingest_id), 13, 4) || '-' || substr(hex(ingest_id), 17, 4) || '-' || substr(hex(ingest_id), 21))
        ELSE CAST(ingest_id AS TEXT)
    END AS ingest_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', received_at / 1000.0, 'unixepoch') AS received_at, state,
    strftime('%Y-%m-%dT%H:%M:%fZ', failed_at / 1000.0, 'unixepoch') AS failed_at, error,
    topic, cluster_id, client, x_request_id, traceparent, instance, reason, crc, skew_ms, payload,
    event ->> '$.timestamp' AS event_timestamp,
    event ->> '$.request_id' AS request_id,
    event ->> '$.service' AS service,
    event ->> '$.env' AS env,
    event ->> '$.action' AS action,
    event ->> '$.level' AS level,
    event ->> '$.message' AS message,
    event ->> '$.user_id' AS user_id,
    event ->> '$.product_id' AS product_id,
    CAST(event ->> '$.price' AS REAL) AS price,
    CAST(event ->> '$.quantity' AS INTEGER) AS quantity,
    event ->> '$.error_code' AS error_code,
    event ->> '$.app_version' AS app_version,
    event ->> '$.stack' AS stack,
    event ->> '$.raw_data' AS raw_data
FROM (
    SELECT *, CASE WHEN json_valid(CAST(payload AS TEXT)) THEN
        replace(CAST(payload AS TEXT), '\u0000', '\ufffd') END AS event
    FROM letter_rows
);
