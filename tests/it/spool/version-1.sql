-- Rows of a spool as version 1 wrote them: held 1 and 2, 3 at home, 4 a dead letter. With 001.sql before it this
-- is a file of the first release.

INSERT INTO raw_logs
    (ingest_id, received_at, state, reason, instance, crc, event_timestamp, request_id, service, env, action, level, message, price, quantity, payload)
VALUES
    ('00000000-0000-0000-0000-000000000001', '2026-11-01T00:00:00.001Z', 'held', 'kafka is down', 'till-pc', 2250403251, '2025-11-18T17:21:35Z', 'r-1', 'pos', 'shop', 'pay', 'info', 'message 1', 12.5, 1,
     CAST('{"request_id":"r-1","service":"pos","env":"shop","timestamp":"2025-11-18T17:21:35Z","action":"pay","level":"info","message":"message 1","price":12.5,"quantity":1}' AS BLOB)),
    ('00000000-0000-0000-0000-000000000002', '2026-11-01T00:00:00.002Z', 'held', 'kafka is down', 'till-pc', 51157134, '2025-11-18T17:21:35Z', 'r-2', 'pos', 'shop', 'pay', 'info', 'message 2', 12.5, 2,
     CAST('{"request_id":"r-2","service":"pos","env":"shop","timestamp":"2025-11-18T17:21:35Z","action":"pay","level":"info","message":"message 2","price":12.5,"quantity":2}' AS BLOB)),
    ('00000000-0000-0000-0000-000000000003', '2026-11-01T00:00:00.003Z', 'home', 'no kafka is configured', 'till-pc', 2145989733, '2025-11-18T17:21:35Z', 'r-3', 'pos', 'shop', 'pay', 'info', 'message 3', 12.5, 3,
     CAST('{"request_id":"r-3","service":"pos","env":"shop","timestamp":"2025-11-18T17:21:35Z","action":"pay","level":"info","message":"message 3","price":12.5,"quantity":3}' AS BLOB));
INSERT INTO dead_letters
    (ingest_id, received_at, state, reason, instance, crc, event_timestamp, request_id, service, env, action, level, message, price, quantity, payload, failed_at, error)
VALUES
    ('00000000-0000-0000-0000-000000000004', '2026-11-01T00:00:00.004Z', 'held', 'rejected', 'till-pc', 3525342389, '2025-11-18T17:21:35Z', 'r-4', 'pos', 'shop', 'pay', 'info', 'message 4', 12.5, 4,
     CAST('{"request_id":"r-4","service":"pos","env":"shop","timestamp":"2025-11-18T17:21:35Z","action":"pay","level":"info","message":"message 4","price":12.5,"quantity":4}' AS BLOB), '2026-11-01T00:00:01.000Z', 'policy');
UPDATE figures SET value = 2 WHERE name = 'held';
UPDATE figures SET value = 1 WHERE name IN ('home', 'dead_letters');
PRAGMA user_version = 1;
PRAGMA application_id = 1819240307;
