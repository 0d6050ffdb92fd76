#!/usr/bin/env python3
"""Makes the spools beside this file, which the tests of updates begin with.

    git worktree add /tmp/old 4463558 && (cd /tmp/old && cargo build --release --bins)
    tests/it/spool/made-by-0.1.0/make.py /tmp/old/target/release/logs-ingest

closed.sqlite3: 12 home rows, 12 held rows and a dead letter, after a stop. killed.sqlite3 and its log: 4 held rows, after
kill -9. Each event's request_id is its kind and number; `home-3` came with an Idempotency-Key, `held-4` with a
traceparent, `held-5` is larger than a page, `home-6` has U+0000 in its message.
"""

import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PORT = 28317


def post(kind, number):
    event = {"request_id": f"{kind}-{number}", "service": "pos", "env": "shop", "timestamp": "2025-11-18T17:21:35Z",
             "action": "pay", "level": "info", "message": f"message {number}", "price": 12.5, "quantity": number,
             "raw_data": {"shop": 7}}
    headers = {}
    if (kind, number) == ("home", 3):
        headers["Idempotency-Key"] = "once"
    if (kind, number) == ("held", 4):
        headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    if (kind, number) == ("held", 5):
        event["stack"] = "at line 1\n" * 600
    if (kind, number) == ("home", 6):
        event["message"] = "a\0b"
    url = f"http://127.0.0.1:{PORT}/api/logs/ingest"
    request = urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202 and answer.headers["X-Stored-In"] == "spool", answer.headers


def run(binary, folder, kind, count, end, **settings):
    env = {"DATA_DIR": folder, "PORT": str(PORT), "HOST": "127.0.0.1", "INSTANCE": "till-pc", **settings}
    daemon = subprocess.Popen([binary], env=env, stderr=subprocess.DEVNULL)
    for _ in range(100):
        time.sleep(0.1)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/livez", timeout=1)
            break
        except OSError:
            pass
    for number in range(count):
        post(kind, number)
    daemon.send_signal(end)
    daemon.wait()


def main():
    binary = sys.argv[1]
    down = {"KAFKA_BROKERS": "127.0.0.1:1", "KAFKA_DEADLINE": "1s"}
    with tempfile.TemporaryDirectory() as folder:
        run(binary, folder, "home", 12, signal.SIGTERM)
        run(binary, folder, "held", 13, signal.SIGTERM, **down)
        # No broker is here to refuse an event: the last held row becomes what one makes of it.
        with sqlite3.connect(f"{folder}/spool.sqlite3") as db:
            columns = ", ".join(row[1] for row in db.execute("PRAGMA table_info(raw_logs)") if row[1] != "seq")
            db.execute(f"INSERT INTO dead_letters ({columns}, failed_at, error) SELECT {columns}, '2026-11-28T00:00:00.000Z',"
                       " 'too large' FROM raw_logs WHERE request_id = 'held-12'")
            db.execute("DELETE FROM raw_logs WHERE request_id = 'held-12'")
            db.execute("UPDATE figures SET value = 12 WHERE name = 'held'")
            db.execute("UPDATE figures SET value = 1 WHERE name = 'dead_letters'")
        db.close()
        shutil.copy(f"{folder}/spool.sqlite3", HERE / "closed.sqlite3")
    with tempfile.TemporaryDirectory() as folder:
        run(binary, folder, "held", 4, signal.SIGKILL, **down)
        for suffix in ["", "-wal"]:
            shutil.copy(f"{folder}/spool.sqlite3{suffix}", HERE / f"killed.sqlite3{suffix}")
    for made in HERE.glob("*.sqlite3*"):
        os.chmod(made, 0o644)
        print(made.name, made.stat().st_size)


main()
