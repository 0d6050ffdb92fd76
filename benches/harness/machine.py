"""Processes, ports, and what /proc says of them."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")


def die(why):
    sys.exit(f"scripts/bench: {why}")


def need(command, package):
    """Installs by apt-get where that is possible, else says what to install."""
    if shutil.which(command):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if not shutil.which(command):
        die(f"{command} is missing: install it (Debian: apt-get install {package})")


def free_port():
    """A port below the ephemeral range, which clients would take away."""
    for port in range(20100, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    die("no free port between 20100 and 32000")


def wait_for(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            die(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def wait_for_port(port, process, seconds=60):
    def listens():
        if process.poll() is not None:
            die(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, f"something to listen on port {port}", seconds)


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


def family(pid):
    """A process and its children, some servers being several."""
    pids = [pid]
    for one in pids:
        try:
            children = pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        pids += map(int, children)
    return pids


def cpu_seconds(pid):
    total = 0
    for one in family(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_mib(pid, name="VmRSS"):
    """Resident memory now, or at most (`VmHWM`)."""
    texts = [pathlib.Path(f"/proc/{one}/status").read_text() for one in family(pid)]
    return sum(int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for text in texts) / 1024


def describe():
    """The machine, in a line."""
    model = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M).group(1)) / 2**20
    return (f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model.group(1) if model else os.uname().machine}), "
            f"{memory:.0f} GiB, Linux {os.uname().release}")


class Processes:
    """All that was started; ended in reverse order."""

    def __init__(self):
        self.started = []

    def start(self, args, env=None, log=subprocess.DEVNULL, cwd=None):
        process = subprocess.Popen([str(arg) for arg in args], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=log, cwd=cwd)
        self.started.append(process)
        return process

    def stop(self, process):
        self.started.remove(process)
        end(process)

    def stop_all(self):
        while self.started:
            end(self.started.pop())


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
