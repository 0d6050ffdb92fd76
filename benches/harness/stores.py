"""PostgreSQL as the only store, and a backlog's way back to Kafka, each beside the server's own limit."""

import os
import pathlib
import re
import subprocess
import time

from .batches import bare_produce
from .load import CONNECTIONS
from .machine import ROOT, cpu_seconds, free_port, get, wait_for
from .single import WARM_UP_S
from .table import medians, show

HEAD = ["", "events/s", "CPU us", "p50 ms", "p99 ms", "errors"]
RATE = 2_000  # RECOVERY_RATE by default

# The daemon's columns, and a row of them with an event of some 350 bytes.
COLUMNS = ("ingest_id, received_at, state, reason, instance, event_timestamp, request_id, service, env, action, level, message, "
           "user_id, product_id, price, quantity, app_version, raw_data, payload")
ROW = """gen_random_uuid(), now(), '{state}', 'bench', 'bench', '2026-01-31T09:15:00.125Z', 'till-' || {n}, 'pos-checkout',
    'production', 'sale.completed', 'info', 'Sale completed, receipt printed and drawer opened', 'cashier-17', 'SKU-004711',
    17.99, 3, '4.2.1', '{{"till":1,"shift":"am"}}',
    convert_to(format('{{"request_id":"till-%s","service":"pos-checkout","env":"production","timestamp":"2026-01-31T09:15:00.125Z",'
    '"action":"sale.completed","level":"info","message":"Sale completed, receipt printed and drawer opened","user_id":"cashier-17",'
    '"product_id":"SKU-004711","price":17.99,"quantity":3,"app_version":"4.2.1","raw_data":{{"till":1,"shift":"am"}}}}', {n}), 'UTF8')"""


def run(bench):
    programs, url = start_postgres(bench)
    rows, notes = home(bench, programs, url)
    rows += recovery(bench, programs, url)
    rows += live(bench, programs, url, notes)
    show("PostgreSQL, and the way back to Kafka", HEAD, rows, notes)


def row(name, sample):
    return [name, f"{sample['rps']:,.0f}", f"{sample['cpu_us']:.1f}", f"{sample['p50']:.2f}", f"{sample['p99']:.2f}",
            f"{sample['errors']:.0f}"]


def limit(name, events):
    return [name, f"{events:,.0f}", "", "", "", ""]


def home(bench, programs, url):
    """PostgreSQL as the events' home."""
    seconds = bench.args.seconds
    target = bench.daemon("PostgreSQL only", POSTGRES_URL=url)
    wait_for(lambda: get(target.port, "/health")["postgres"]["state"] == "up", "PostgreSQL to be used")
    target.load(3, keep=False)
    before = get(target.port, "/stats")["counters"]
    for _ in range(bench.args.rounds):
        target.load(seconds)
    after = get(target.port, "/stats")["counters"]
    bench.stop(target)
    events, rounds = (after[name] - before[name] for name in ("stored_postgres", "rounds"))
    a_commit = max(1, round(events / max(rounds, 1)))
    one = f"INSERT INTO raw_logs ({COLUMNS}) SELECT " + ROW.format(state="home", n="(random() * 1e9)::int")
    many = f"INSERT INTO raw_logs ({COLUMNS}) SELECT " + ROW.format(state="home", n="n") + f" FROM generate_series(1, {a_commit}) AS n"
    return [row("PostgreSQL only, 64 connections", medians(target.samples)),
            limit("pgbench, a row a transaction, 64 clients", pgbench(programs, url, bench.folder, one, CONNECTIONS, seconds)),
            limit(f"pgbench, {a_commit} rows a statement, one client",
                  pgbench(programs, url, bench.folder, many, 1, seconds) * a_commit)], []


def recovery(bench, programs, url):
    """Held rows on their way to Kafka, unlimited."""
    rows = bench.args.backlog
    sql(programs, url, "TRUNCATE raw_logs")
    hold(programs, url, rows)
    sql(programs, url, "ANALYZE raw_logs")
    target = bench.daemon("recovery", kafka=True, POSTGRES_URL=url, RECOVERY_RATE="0")
    moved = lambda: get(target.port, "/stats")["counters"]["recovered_postgres"]
    wait_for(lambda: moved() > 0, "the backlog to move")
    first, began = moved(), time.monotonic()
    wait_for(lambda: moved() >= rows, "the backlog to be gone", 300)
    took, cpu = time.monotonic() - began, cpu_seconds(target.pid)
    bench.stop(target)
    return [[f"recovery of {rows:,} rows, unlimited", f"{(rows - first) / took:,.0f}", f"{cpu / rows * 1e6:.1f}", "", "", ""],
            limit("the same Kafka client alone, 500 a write", bare_produce(bench, 500, rows))]


def live(bench, programs, url, notes):
    """Live events beside a drain at the default rate."""
    seconds = bench.args.seconds
    target = bench.daemon("live", kafka=True, POSTGRES_URL=url)
    target.load(WARM_UP_S, keep=False)
    usual = target.load(seconds)
    # More than what drains in the meantime, and before the measured load: what is measured is the drain, not the insert.
    hold(programs, url, RATE * (seconds + WARM_UP_S + 8))
    target.load(WARM_UP_S, keep=False)
    beside = target.load(seconds)
    if sql(programs, url, "SELECT count(*) FROM raw_logs WHERE forwarded_at IS NULL") == "0":
        notes.append("The backlog was gone before the end of the last row's load.")
    bench.stop(target)
    return [row("live to Kafka, nothing held", usual), row(f"live to Kafka while {RATE:,} rows/s drain", beside)]


def hold(programs, url, rows):
    """Puts so many events into PostgreSQL that wait for Kafka."""
    sql(programs, url, f"INSERT INTO raw_logs ({COLUMNS}) SELECT " + ROW.format(state="held", n="n")
        + f" FROM generate_series(1, {rows}) AS n")


def start_postgres(bench):
    ensured = subprocess.run([ROOT / "scripts/postgres", "ensure"], check=True, capture_output=True, text=True)
    programs, port = pathlib.Path(ensured.stdout.strip()), free_port()
    bench.processes.start([ROOT / "scripts/postgres", "run", port])
    url = f"postgres://till:till@127.0.0.1:{port}/logs"
    wait_for(lambda: subprocess.run([programs / "psql", url, "-qAtXc", "SELECT 1"], capture_output=True).returncode == 0,
             "PostgreSQL to start")
    return programs, url


def sql(programs, url, text):
    """Runs statements by psql; the last line that it prints."""
    out = subprocess.run([programs / "psql", url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text], check=True,
                         capture_output=True, text=True).stdout
    return out.strip().splitlines()[-1] if out.strip() else ""


def pgbench(programs, url, folder, statement, clients, seconds):
    """Transactions a second of this one statement."""
    script = os.path.join(folder, "insert.sql")
    pathlib.Path(script).write_text(statement + ";\n")
    out = subprocess.run([programs / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds), "-f", script, url],
                         check=True, capture_output=True, text=True).stdout
    return float(re.search(r"tps = ([\d.]+)", out).group(1))
