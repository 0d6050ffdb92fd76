"""What is measured: the daemon, bare tiny_http, and the peers from their registries."""

import os
import pathlib
import shutil
import socket
import subprocess

from .load import CONNECTIONS, Requests, wrk
from .machine import ROOT, die, free_port, get, wait_for, wait_for_port
from .table import say

DAEMON = ROOT / "target/release/logs-ingest"
TELEGRAF = "v1.36.2"
# The broker keeps little, so that the kernel's pages are used again. On a virtual machine the first touch of a page
# costs as much as all of the broker's work for the events in it, and would hit whoever comes later in a run.
BROKER_KEEPS = ["log.segment.bytes=33554432", "log.retention.bytes=67108864", "log.retention.check.interval.ms=1000",
                "log.segment.delete.delay.ms=0"]


def builds(args):
    """What is measured: this build, and those of --beside."""
    return [("logs-ingest", DAEMON), *((path, pathlib.Path(path)) for path in args.beside)]


class Target:
    """A process under load. `before` is called ahead of each load; `topic` is where its events should be."""

    def __init__(self, name, process, port, requests, scheme="http", before=None, topic=None):
        self.name, self.process, self.port, self.requests = name, process, port, requests
        self.scheme, self.before, self.topic, self.samples = scheme, before, topic, []
        self.pid = process.pid
        wait_for_port(port, process)

    def load(self, seconds, keep=True, connections=CONNECTIONS):
        if self.before:
            self.before()
        sample = wrk(self, self.requests, seconds, connections)
        if keep:
            self.samples.append(sample)
        return sample


class Bench:
    """A folder, a broker, and the means to start targets; its `events` are what most of them are sent."""

    def __init__(self, args, folder, processes):
        self.args, self.folder, self.processes = args, folder, processes
        self.log = open(os.path.join(folder, "log"), "wb")
        self.events = Requests(folder, "events")
        self.broker_port = free_port()
        broker = processes.start([ROOT / "scripts/kafka", "run", args.kafka, self.broker_port, *BROKER_KEEPS])
        wait_for_port(self.broker_port, broker)
        self.brokers = f"127.0.0.1:{self.broker_port}"
        self.topics = 0
        self.builds = builds(args)

    def topic(self):
        self.topics += 1
        return f"bench-{self.topics}"

    def count(self, topic):
        """How many records a topic has."""
        out = subprocess.run([ROOT / "scripts/kafka", "count", self.brokers, topic], check=True, capture_output=True, text=True)
        return int(out.stdout.strip().splitlines()[-1])

    def daemon(self, name, kafka=False, requests=None, cores=None, scheme="http", program=DAEMON, **settings):
        port, topic = free_port(), self.topic() if kafka else None
        env = {"HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": os.path.join(self.folder, f"data-{port}-{name}"), **settings}
        if kafka:
            env |= {"KAFKA_BROKERS": self.brokers, "KAFKA_TOPIC": topic}
        pinned = ["taskset", "-c", cores] if cores else []
        process = self.processes.start([*pinned, program], env, self.log)
        target = Target(name, process, port, requests or self.events, scheme, topic=topic)
        if kafka:
            wait_for(lambda: get(port, "/health")["kafka"]["state"] == "up", "Kafka to be used")
        return target

    def tiny(self):
        port = free_port()
        workers = max(4, 2 * (os.cpu_count() or 1))
        process = self.processes.start([ROOT / "target/release/examples/bare_tiny_http", f"127.0.0.1:{port}", workers])
        return Target("bare tiny_http (echo)", process, port, self.events, before=lambda: fill_pool(port))

    def fastapi(self, workers):
        python, port, topic = fastapi_python(), free_port(), self.topic()
        process = self.processes.start(
            [python, "-m", "uvicorn", "fastapi_kafka:app", "--host", "127.0.0.1", "--port", port, "--workers", workers,
             "--log-level", "warning", "--no-access-log"],
            {"KAFKA_BROKERS": self.brokers, "KAFKA_TOPIC": topic}, self.log, ROOT / "benches/peers")
        return Target(f"FastAPI + aiokafka, {workers} worker{'s' * (workers > 1)}", process, port, self.events, topic=topic)

    def telegraf(self):
        program, port, topic = telegraf_program(), free_port(), self.topic()
        text = (ROOT / "benches/peers/telegraf.toml").read_text()
        config = pathlib.Path(self.folder, "telegraf.toml")
        config.write_text(text.replace('"BROKERS"', f'"{self.brokers}"').replace('"TOPIC"', f'"{topic}"').replace("PORT", str(port)))
        process = self.processes.start([program, "--config", config], log=self.log)
        return Target("Telegraf (does not wait)", process, port, self.events, topic=topic)

    def peers(self):
        return [] if self.args.no_peers else [self.fastapi(1), self.fastapi(2), self.telegraf()]

    def stop(self, target):
        self.processes.stop(target.process)


def fill_pool(port):
    """Makes tiny_http start a thread a connection: of 64 that come at once, its pool would leave most unserved."""
    connections = []
    for _ in range(2 * CONNECTIONS):
        connections.append(socket.create_connection(("127.0.0.1", port), 5))
        connections[-1].sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        connections[-1].recv(4096)
    for connection in connections:
        connection.close()


def fastapi_python():
    """The interpreter of an environment in target/ with what benches/peers/requirements.txt names."""
    wanted, home = ROOT / "benches/peers/requirements.txt", ROOT / "target/peers/python"
    made = home / "requirements.txt"
    if not made.exists() or made.read_bytes() != wanted.read_bytes():
        say("installing FastAPI and aiokafka from PyPI into target/peers")
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run(["python3", "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted], check=True)
        shutil.copy(wanted, made)
    return home / "bin/python"


def telegraf_program():
    """Telegraf with the two plugins that it needs here, built from its Go module."""
    home = ROOT / "target/peers" / f"telegraf-{TELEGRAF}"
    if not (home / "telegraf").exists():
        if not shutil.which("go"):
            die("go is missing: install Go, or leave the peers out with --no-peers")
        say("building Telegraf from its Go module into target/peers (some minutes)")
        tags = "custom,inputs.http_listener_v2,outputs.kafka,parsers.json,serializers.json"
        subprocess.run(["go", "install", "-tags", tags, f"github.com/influxdata/telegraf/cmd/telegraf@{TELEGRAF}"], check=True,
                       env={**os.environ, "GOBIN": str(home)})
    return home / "telegraf"
