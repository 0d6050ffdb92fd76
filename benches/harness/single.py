"""Single events at full speed, one request an event, 64 connections; interleaved rounds."""

import os
import pathlib
import socket
import subprocess
import time

from .load import CONNECTIONS, Requests
from .machine import ROOT, die, free_port, memory_mib
from .table import in_turn, median, medians, say, show

HEAD = ["", "events/s", "of tiny", "CPU us", "x tiny", "p50 ms", "p99 ms", "p99.9", "errors", "MiB", "peak", "in the store"]
# A broker's JVM goes on compiling for some 20,000 produce requests.
WARM_UP_S = 20
BODY = (b'{"request_id":"first","service":"s","env":"e","timestamp":"2026-01-31T09:00:00Z",'
        b'"action":"a","level":"info","message":"m"}')


def run(bench):
    args = bench.args
    tiny = bench.tiny()
    kafkas = [bench.daemon(f"{name}, Kafka acks=all", kafka=True, program=program) for name, program in bench.builds]
    spools = [bench.daemon(f"{name}, spool only", program=program) for name, program in bench.builds]
    kafka, targets = kafkas[0], [tiny, *kafkas, *spools, *refusing(bench), *bench.peers()]
    kafka.load(WARM_UP_S, keep=False)
    for target in targets[1:]:
        target.load(2, keep=False)
    fsyncs = rounds(bench, targets)
    while args.events and args.events > bench.count(kafka.topic):
        kafka.load(args.seconds, keep=False)
    base, rows = medians(tiny.samples), []
    for target in targets:
        column = medians(target.samples)
        rows.append([target.name, f"{column['rps']:,.0f}", f"{column['rps'] / base['rps']:.0%}", f"{column['cpu_us']:.1f}",
                     f"{column['cpu_us'] / base['cpu_us']:.2f}", f"{column['p50']:.2f}", f"{column['p99']:.2f}",
                     f"{column['p999']:.2f}", f"{sum(sample['errors'] for sample in target.samples):.0f}",
                     f"{memory_mib(target.pid):.1f}", f"{memory_mib(target.pid, 'VmHWM'):.1f}",
                     f"{bench.count(target.topic):,}" if target.topic else ""])
    first = [first_202_ms(os.path.join(bench.folder, f"first-{n}")) for n in range(3)]
    show(f"Single events, {CONNECTIONS} connections, {args.rounds} rounds of {args.seconds} s", HEAD, rows, [
        f"One append of 4 KiB and its fsync in the spool's folder: {median(fsyncs):.2f} ms (median). "
        f"First 202 after the start of the process: {median(first):.0f} ms (median of {len(first)}).",
        "CPU us: microseconds of CPU an event of the process under test, user and system; MiB: resident memory."])


def rounds(bench, targets):
    fsyncs = []
    for number in range(bench.args.rounds):
        for target in in_turn(targets, number):
            sample = target.load(bench.args.seconds)
            say(f"round {number + 1}  {target.name:<32}{sample['rps']:>10,.0f}/s")
        fsyncs.append(fsync_ms(bench.folder))
    return fsyncs


def refusing(bench):
    """The cost of everything before a store: requests that are refused with 422, with keys, a cap an address and
    masking, over HTTP and over TLS."""
    key, keys = "bench-0123456789abcdef", pathlib.Path(bench.folder, "keys")
    requests = Requests(bench.folder, "refused", refused=True, key=key)
    keys.touch(0o600)
    keys.write_text(f"bench {key}\n")
    made = pathlib.Path(bench.folder, "tls")
    subprocess.run([ROOT / "scripts/make-cert", made], check=True, stdout=subprocess.DEVNULL)
    tls = {"TLS_CERT": str(made / "cert.pem"), "TLS_KEY": str(made / "key.pem")}
    on = {"API_KEYS_FILE": str(keys), "MAX_CONNECTIONS_PER_ADDRESS": "1000"}
    return [*(bench.daemon(f"{name}, refused (422)", requests=requests, program=program, **on) for name, program in bench.builds),
            bench.daemon("logs-ingest, refused (422), TLS", requests=requests, scheme="https", **on, **tls)]


def fsync_ms(folder):
    """The median time of one 4 KiB append and fsync in the spool's folder."""
    path, times = os.path.join(folder, "fsync-probe"), []
    with open(path, "wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    os.unlink(path)
    return median(times)


def first_202_ms(folder):
    """From the start of a process with an empty spool to its first 202."""
    port = free_port()
    request = b"POST /api/logs/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY
    began = time.monotonic()
    process = subprocess.Popen([ROOT / "target/release/logs-ingest"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": folder})
    try:
        while time.monotonic() - began < 30:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    connection.sendall(request)
                    if connection.recv(4096).startswith(b"HTTP/1.1 202"):
                        return (time.monotonic() - began) * 1000
            except OSError:
                time.sleep(0.002)
    finally:
        process.terminate()
        process.wait(30)
    die("no 202 within 30 s of start")
