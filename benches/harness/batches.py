"""Batches of NDJSON beside the Kafka client alone that the daemon uses."""

import subprocess

from .load import Requests
from .machine import ROOT, memory_mib
from .table import in_turn, median, medians, say, show

EVENTS = 1_000
CONNECTIONS = 4
# The broker's compiler goes on for some four million events.
WARM_UP_ROUNDS = 2
# What the bare loop writes a round: some 5 s of it, as long as the daemon's, for the broker's pauses hit both.
BARE_EVENTS = 1_200_000


def bare_produce(bench, a_write, events=BARE_EVENTS):
    """Events a second of the Kafka client alone, one write after the other."""
    out = subprocess.run([ROOT / "target/release/examples/bare_produce", bench.brokers, "bare", str(events), str(a_write)],
                         check=True, capture_output=True, text=True).stdout
    return float(out)


def run(bench):
    args = bench.args
    requests = Requests(bench.folder, "batch", batch=EVENTS)
    targets = [bench.daemon(f"{name}, {store}", kafka=kafka, requests=requests, program=program)
               for store, kafka in [("Kafka acks=all", True), ("spool only", False)] for name, program in bench.builds]
    bare = []
    for number in range(-WARM_UP_ROUNDS, args.rounds):
        events = bare_produce(bench, EVENTS)
        for target in in_turn(targets, number):
            sample = target.load(args.seconds, keep=number >= 0, connections=CONNECTIONS)
            say(f"round {number + 1}  {target.name:<32}{sample['rps']:>10,.0f}/s")
        if number >= 0:
            bare.append(events)
    limit = median(bare)
    rows = [["the Kafka client alone", f"{limit:,.0f}", "100%", "", "", "", "", ""]]
    for target in targets:
        column = medians(target.samples)
        rows.append([target.name, f"{column['rps']:,.0f}", f"{column['rps'] / limit:.0%}", f"{column['cpu_us']:.1f}",
                     f"{column['p50']:.1f}", f"{column['p99']:.1f}", f"{sum(s['errors'] for s in target.samples):.0f}",
                     f"{memory_mib(target.pid, 'VmHWM'):.1f}"])
    show(f"Batches of {EVENTS:,} NDJSON events, {CONNECTIONS} connections",
         ["", "events/s", "of the client", "CPU us", "p50 ms a batch", "p99", "errors", "peak MiB"], rows)
