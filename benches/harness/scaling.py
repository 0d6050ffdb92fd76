"""What a figure depends on: events a batch, connections, bytes an event, cores. Single runs, one after the other."""

from .load import Requests
from .single import WARM_UP_S
from .table import say, show

HEAD = ["", "events/s", "MB/s", "CPU us an event", "p50 ms", "p99 ms", "errors"]
BATCHES = [1, 10, 100, 1_000, 10_000]
CONNECTIONS = [1, 4, 16, 64, 256, 1_000]
SIZES = [220, 350, 1_000, 4_000, 16_000, 64_000, 256_000, 390_000]


def row(name, sample, size=350):
    say(f"{name:<24}{sample['rps']:>10,.0f}/s")
    return [name, f"{sample['rps']:,.0f}", f"{sample['rps'] * size / 1e6:.1f}", f"{sample['cpu_us']:.1f}",
            f"{sample['p50']:.2f}", f"{sample['p99']:.2f}", f"{sample['errors']:.0f}"]


def run(bench):
    seconds = bench.args.seconds
    target = bench.daemon("scaling", kafka=True, MAX_CONNECTIONS="2048")
    target.load(WARM_UP_S, keep=False)
    show("Connections, single events", HEAD,
         [row(f"{count} connections", target.load(seconds, connections=count)) for count in CONNECTIONS])
    rows = []
    for count in BATCHES:
        target.requests = Requests(bench.folder, f"batch-{count}", batch=count)
        rows.append(row(f"{count:,} a batch", target.load(seconds, connections=4)))
    show("Events a batch, 4 connections", HEAD, rows)
    rows = []
    for size in SIZES:
        target.requests = Requests(bench.folder, f"size-{size}", size=size)
        target.load(1, keep=False, connections=16)
        rows.append(row(f"{size:,} bytes", target.load(seconds, connections=16), size))
    show("Bytes an event, 16 connections", HEAD, rows)
    bench.stop(target)
    rows = []
    for cores in ["0", "0,1"]:
        target = bench.daemon(f"core {cores}", kafka=True, cores=cores)
        target.load(3, keep=False)
        rows.append(row(f"the daemon on core{'s' * (len(cores) > 1)} {cores}", target.load(seconds)))
        bench.stop(target)
    show("Cores, single events, 64 connections (broker and load generator use all of them)", HEAD, rows)
