"""What a shop sees: a steady rate (open loop), many tills at once, and a daemon that has nothing to do."""

import time

from .load import tills
from .machine import cpu_seconds, memory_mib
from .single import WARM_UP_S
from .table import medians, say, show

RATE = 1_000
RATE_TILLS = 64
CROWD = 512
IDLE_S = 30


def steady(bench):
    """A fixed rate, whatever the answers take."""
    targets = [bench.daemon("logs-ingest, Kafka acks=all", kafka=True), *bench.peers()]
    samples = {target.name: [] for target in targets}
    for target in targets:
        tills(target, RATE_TILLS, RATE, 5)
    for number in range(bench.args.rounds):
        for target in targets:
            sample = tills(target, RATE_TILLS, RATE, 2 * bench.args.seconds)
            samples[target.name].append(sample)
            say(f"round {number + 1}  {target.name:<32}{sample['p99']:>10.2f} ms")
    rows = []
    for name, of in samples.items():
        column = medians(of)
        rows.append([name, f"{column['rps']:,.0f}", f"{column['p50']:.2f}", f"{column['p99']:.2f}", f"{column['p999']:.2f}",
                     f"{column['max']:.1f}", f"{column['core']:.0%}", sum(sample["errors"] for sample in of)])
    show(f"{RATE:,} single events a second, steady, {RATE_TILLS} tills (open loop: times count from when an event was due)",
         ["", "events/s", "p50 ms", "p99 ms", "p99.9", "worst", "of a core", "errors"], rows)


def crowd(bench):
    """Everybody at once, each as fast as it is answered: is anybody left behind?"""
    targets = [bench.daemon("logs-ingest, Kafka acks=all", kafka=True), bench.daemon("logs-ingest, spool only")]
    if not bench.args.no_peers:
        targets.append(bench.fastapi(2))
    rows = []
    tills(targets[0], CROWD, 0, WARM_UP_S)
    for target in targets:
        tills(target, CROWD, 0, 3)
        of = [tills(target, CROWD, 0, bench.args.seconds) for _ in range(bench.args.rounds)]
        column = medians(of)
        rows.append([target.name, f"{column['rps']:,.0f}", f"{column['p50']:.1f}", f"{column['median_till_p99']:.1f}",
                     f"{column['slowest_till_p99']:.1f}", f"{column['slowest_till_p99'] / column['median_till_p99']:.2f}",
                     f"{column['least']:,}", sum(sample["errors"] for sample in of), f"{memory_mib(target.pid, 'VmHWM'):.1f}"])
    show(f"{CROWD} tills at once, each as fast as it is answered",
         ["", "events/s", "p50 ms", "the median till's p99", "the slowest till's", "ratio", "fewest events of a till", "errors",
          "peak MiB"], rows)


def idle(bench):
    """Nothing to do."""
    targets = [bench.daemon("logs-ingest, Kafka", kafka=True), bench.daemon("logs-ingest, spool only"), *bench.peers()]
    time.sleep(5)  # Until what a start brings with it is over.
    before = {target.name: cpu_seconds(target.pid) for target in targets}
    time.sleep(IDLE_S)
    show(f"Idle, {IDLE_S} s", ["", "CPU ms a second", "resident MiB"],
         [[target.name, f"{(cpu_seconds(target.pid) - before[target.name]) / IDLE_S * 1000:.2f}", f"{memory_mib(target.pid):.1f}"]
          for target in targets])
