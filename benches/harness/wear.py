"""What a disk has to write for a lone event that only the spool takes, beside two limits, and while nothing comes.

Bytes are those of /proc/PID/io (write_bytes: pages of 4 KiB that the process made dirty), from the first stored event to the
end of the process, so that what is put off to a checkpoint or to the stop counts too.
"""

import http.client
import json
import os
import pathlib
import sqlite3
import time

from .machine import free_port, wait_for_port
from .table import say, show
from .targets import builds

HEAD = ["", "events", "bytes per event", "MiB per day at 2/s"]
EVENT_BYTES = 350
DAY = 24 * 60 * 60
# How events come, how many, and how long one waits for the next.
PACES = [("one after the other", 5_000, 0), ("10 a second", 600, 0.1), ("2 a second", 240, 0.5)]
IDLE_S = 90


def run(args, folder, processes):
    rows = []
    for name, measure in [("a bare SQLite row, one after the other", bare_row),
                          ("4 KiB preallocated log and fdatasync, one after the other", bare_log)]:
        rows.append(row(name, PACES[0][1], measure(folder, PACES[0][1])))
    for label, binary in builds(args):
        for pace, count, pause in PACES:
            say(f"{label}: {count} events, {pace}")
            rows.append(row(f"{label}, {pace}", count, daemon(binary, folder, processes, count, pause)))
        say(f"{label}: idle")
        idle = daemon(binary, folder, processes, 1, 0, IDLE_S)
        rows.append([f"{label}, idle for {IDLE_S} s", "0", f"{idle:,.0f} in all", ""])
    show("Wear: the spool alone, lone events of 350 bytes", HEAD, rows)


def row(name, events, written):
    per_event = written / events
    return [name, f"{events:,}", f"{per_event:,.0f}", f"{per_event * 2 * DAY / (1 << 20):,.0f}"]


def written(pid):
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def event(number):
    text = {"request_id": f"till-{number:08}", "service": "pos-checkout", "env": "production",
            "timestamp": "2026-01-31T09:15:00.125Z", "action": "sale.completed", "level": "info",
            "message": "Sale completed, receipt printed and drawer opened", "user_id": "cashier-17",
            "product_id": "SKU-004711", "price": 17.99, "quantity": 3, "app_version": "4.2.1", "pad": ""}
    text["pad"] = "x" * (EVENT_BYTES - len(json.dumps(text, separators=(",", ":"))))
    return json.dumps(text, separators=(",", ":")).encode()


def daemon(binary, folder, processes, count, pause, idle=0):
    """Bytes that a daemon of its own writes for so many events, its stop included; or while nothing comes."""
    port = free_port()
    data = os.path.join(folder, f"wear-{port}-{time.monotonic_ns()}")
    process = processes.start([binary], {"HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": data})
    wait_for_port(port, process)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def store(number):
        client.request("POST", "/api/logs/ingest", event(number))
        answer = client.getresponse()
        answer.read()
        assert answer.status == 202 and answer.headers["X-Stored-In"] == "spool", answer.status

    store(0)
    # What the start left to do is done.
    time.sleep(3)
    before, began = written(process.pid), time.monotonic()
    if idle:
        time.sleep(idle)
        after = written(process.pid)
        processes.stop(process)
        return after - before
    for number in range(1, count + 1):
        time.sleep(max(0, began + number * pause - time.monotonic()))
        store(number)
    process.terminate()
    # As a zombie it still has its figures.
    while pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    after = written(process.pid)
    processes.stop(process)
    return after - before


def bare_row(folder, count):
    """A table of payloads, a transaction and an fsync a row, by SQLite as Python has it."""
    db = sqlite3.connect(os.path.join(folder, "bare.sqlite3"), isolation_level=None)
    for pragma in ["journal_mode = WAL", "synchronous = FULL"]:
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    before = written(os.getpid())
    for number in range(count):
        db.execute("INSERT INTO rows (payload) VALUES (?)", (event(number),))
    db.close()
    return written(os.getpid()) - before


def bare_log(folder, count):
    """A log whose room is there already: a write and an fdatasync an event."""
    log = os.open(os.path.join(folder, "bare.log"), os.O_RDWR | os.O_CREAT)
    # In pages, because the kernel counts what it keeps together as one: a change of a byte would count for all of it.
    for _ in range(count * (EVENT_BYTES + 8) // 4_096 + 1):
        os.write(log, bytes(4_096))
    os.fsync(log)
    before, at = written(os.getpid()), 0
    for number in range(count):
        at += os.pwrite(log, len(event(number)).to_bytes(8, "little") + event(number), at)
        os.fdatasync(log)
    os.close(log)
    return written(os.getpid()) - before
