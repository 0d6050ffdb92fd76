"""The spool's speed, and that of what reads it: beside the Kafka client alone, and beside other builds of the daemon."""

import os
import pathlib
import subprocess
import time

from .batches import CONNECTIONS as BATCH_CONNECTIONS
from .batches import EVENTS, bare_produce
from .load import CONNECTIONS, Requests, wrk
from .machine import cpu_seconds, get, wait_for
from .table import medians, say, show

LARGE_BYTES = 1 << 30
# Nothing listens there.
NOWHERE = {"KAFKA_BROKERS": "127.0.0.1:1", "KAFKA_DEADLINE": "1s"}


def run(bench):
    batches = Requests(bench.folder, "batch", batch=EVENTS)
    rows = load(bench, batches) + recovery(bench, batches)
    show("The spool alone: events stored, and sent on", ["", "events/s", "CPU us", "p50 ms", "p99 ms", "errors"], rows)
    show("A spool of 1 GiB, after kill -9", ["", "rows", "start to the first 202, s", "events --last 5, s", "spool stats, s"],
         [large(bench, batches, label, program) for label, program in bench.builds])


def load(bench, batches):
    """Batches and single events, in interleaved rounds."""
    ways = [(f"batches of {EVENTS:,}", batches, BATCH_CONNECTIONS), (f"single events, {CONNECTIONS} connections", None, CONNECTIONS)]
    rows = []
    for way, requests, connections in ways:
        targets = [bench.daemon(f"{label}, {way}", requests=requests, program=program) for label, program in bench.builds]
        for number in range(-1, bench.args.rounds):
            for target in targets:
                sample = target.load(bench.args.seconds, keep=number >= 0, connections=connections)
                say(f"round {number + 1}  {target.name:<48}{sample['rps']:>10,.0f}/s")
        for target in targets:
            rows.append(row(target.name, medians(target.samples)))
            bench.stop(target)
    return rows


def row(name, sample):
    return [name, f"{sample['rps']:,.0f}", f"{sample['cpu_us']:.1f}", f"{sample['p50']:.2f}", f"{sample['p99']:.2f}",
            f"{sample['errors']:.0f}"]


def recovery(bench, batches):
    """Held rows on their way to Kafka, unlimited."""
    rows = []
    for label, program in bench.builds:
        data = os.path.join(bench.folder, f"held-{len(rows)}")
        target = bench.daemon("held", requests=batches, program=program, DATA_DIR=data, **NOWHERE)
        held = lambda: get(target.port, "/health")["spool"]["held"]
        while held() < bench.args.backlog:
            wrk(target, batches, 1, BATCH_CONNECTIONS)
        count = held()
        bench.stop(target)
        target = bench.daemon("recovery", kafka=True, program=program, DATA_DIR=data, RECOVERY_RATE="0")
        moved = lambda: get(target.port, "/stats")["counters"]["recovered"]
        wait_for(lambda: moved() > 0, "the backlog to move")
        first, began = moved(), time.monotonic()
        wait_for(lambda: moved() >= count, "the backlog to be gone", 300)
        took, cpu = time.monotonic() - began, cpu_seconds(target.pid)
        bench.stop(target)
        say(f"{label}: recovery of {count:,} rows in {took:.1f} s")
        rows.append([f"{label}, recovery of {count:,} rows", f"{(count - first) / took:,.0f}", f"{cpu / count * 1e6:.1f}", "", "", ""])
    limit = bare_produce(bench, 500, bench.args.backlog)
    return [*rows, ["the Kafka client alone, 500 a write", f"{limit:,.0f}", "", "", "", ""]]


def large(bench, batches, label, program):
    """What takes how long with a full spool."""
    data = os.path.join(bench.folder, f"large-{label.replace('/', '-')}")
    settings = {"DATA_DIR": data, "SPOOL_MAX_BYTES": "2GiB"}
    target = bench.daemon("large", requests=batches, program=program, **settings)
    file = pathlib.Path(data, "spool.sqlite3")
    while file.stat().st_size < LARGE_BYTES:
        wrk(target, batches, 2, BATCH_CONNECTIONS)
    rows = get(target.port, "/health")["spool"]["home"]
    target.process.kill()
    target.process.wait()
    began = time.monotonic()
    target = bench.daemon("large", program=program, **settings)
    answered = wrk(target, bench.events, 1, 1)
    started = time.monotonic() - began - 1
    assert not answered["errors"]
    took = []
    for command in (["events", "--last", "5"], ["spool", "stats"]):
        began = time.monotonic()
        subprocess.run([program, *command], env={"DATA_DIR": data}, check=True, stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - began)
        say(f"{label}: {' '.join(command)} {took[-1]:.2f} s")
    bench.stop(target)
    return [label, f"{rows:,}", f"{started:.2f}", *(f"{one:.2f}" for one in took)]
