#!/usr/bin/env python3
"""Reads pos-logs and handles each event once. Needs kafka-python (pip install kafka-python).

    KAFKA_BROKERS=127.0.0.1:9092 python3 consumer.py [GROUP]

An event may be in the topic twice, with the same ingest_id. Here a table with a unique key tells; it is the same
transaction that keeps the event, so that neither a crash nor a repeat counts anything twice.
"""

import json
import os
import sqlite3
import sys

from kafka import KafkaConsumer

store = sqlite3.connect(os.environ.get("STORE", "events.sqlite3"))
store.execute("CREATE TABLE IF NOT EXISTS events (ingest_id TEXT PRIMARY KEY, received_at TEXT, event TEXT)")
consumer = KafkaConsumer(
    os.environ.get("KAFKA_TOPIC", "pos-logs"),
    bootstrap_servers=os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092").split(","),
    group_id=sys.argv[1] if len(sys.argv) > 1 else "shop-reports",
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    consumer_timeout_ms=int(os.environ.get("STOP_WHEN_IDLE_MS", "0")) or float("inf"),
)
for record in consumer:
    headers = {name: value.decode() for name, value in record.headers}
    event = json.loads(record.value)
    # The classic client's records have no headers: there KAFKA_EMBED_ID=on puts both into the value.
    row = (headers.get("ingest_id") or event["ingest_id"], headers.get("received_at") or event["received_at"])
    with store:
        new = store.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (*row, json.dumps(event))).rowcount
    print("event" if new else "again", record.key.decode(), row[0], flush=True)
    # Only now: what is not kept yet is read again after a crash.
    consumer.commit()
