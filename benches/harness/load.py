"""Requests: what they are, and what sends them."""

import json
import pathlib
import re
import subprocess

from .machine import ROOT, cpu_seconds

CONNECTIONS = 64
INGEST = "/api/logs/ingest"

# An event of some 350 bytes, 256 different ones a thread. OPTIONAL, STACK, KEYHEADER and BATCH are put in.
LUA = """
local bodies, n, worker = {}, 0, 0
function setup(thread) thread:set("worker", worker); worker = worker + 1 end
function init(args)
  for i = 1, 256 do
    bodies[i] = string.format('{"request_id":"till-%d-%05d-0a1b2c3d","service":"pos-checkout","env":"production","timestamp":"2026-01-31T09:15:%02d.125Z","action":"sale.completed","level":"LEVEL","message":"Sale completed, receipt printed and drawer opened"OPTIONAL}', worker, i, i % 60, i, i % 9 + 1, worker)
  end
  if BATCH > 1 then
    local lines = {}
    for i = 1, BATCH do lines[i] = bodies[i % 256 + 1] end
    bodies = {table.concat(lines, "\\n")}
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  KEYHEADER
end
function request()
  n = n % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[n])
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %f %f %f\\n", summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, summary.errors.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
"""

# What an event of 350 bytes has and one of 220 has not.
OPTIONAL = ',"user_id":"cashier-17","product_id":"SKU-004711","price":%d.99,"quantity":%d,"app_version":"4.2.1",STACK"raw_data":{"till":%d,"shift":"am"}'

FRAME = r"at com.shop.till.Sale.close(Sale.java:214)\\n\\tat com.shop.till.Main.run(Main.java:17)\\n\\t"


class Requests:
    """A file for wrk: events of about `size` bytes, `batch` of them a request, refused ones, with an API key."""

    def __init__(self, folder, name, size=350, batch=1, refused=False, key=None):
        self.batch, self.refused = batch, refused
        self.path = INGEST + ("/batch" if batch > 1 else "")
        stack = (FRAME * (size // 80 + 1))[:max(0, size - 350)].rstrip("\\")
        lua = LUA.replace("OPTIONAL", OPTIONAL if size >= 350 else "")
        lua = lua.replace("BATCH", str(batch)).replace("LEVEL", "loud" if refused else "info")
        lua = lua.replace("STACK", f'"stack":"{stack}",' if stack else "")
        lua = lua.replace("KEYHEADER", f'wrk.headers["Authorization"] = "Bearer {key}"' if key else "")
        self.file = pathlib.Path(folder, f"{name}.lua")
        self.file.write_text(lua)


def wrk(target, requests, seconds, connections=CONNECTIONS):
    """One sample: figures are those of an event, latency that of a request."""
    before = cpu_seconds(target.pid)
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(requests.file),
                          f"{target.scheme}://127.0.0.1:{target.port}{requests.path}"],
                         check=True, capture_output=True, text=True).stdout
    cpu = cpu_seconds(target.pid) - before
    found = re.search(r"^RESULT (.*)$", out, re.M).group(1)
    answered, micros, errors, not_2xx, p50, p99, p999 = map(float, found.split())
    errors += answered - not_2xx if requests.refused else not_2xx
    events = answered * requests.batch
    return dict(rps=events / (micros / 1e6), cpu_us=cpu / max(events, 1) * 1e6, errors=errors, p50=p50, p99=p99, p999=p999)


def tills(target, count, rate, seconds):
    """One sample of benches/tills.rs: each till at its own pace, times counted from when an event was due."""
    before = cpu_seconds(target.pid)
    out = subprocess.run([ROOT / "target/release/examples/tills", f"127.0.0.1:{target.port}", str(count), str(rate),
                          str(seconds)], check=True, capture_output=True, text=True).stdout
    sample = json.loads(out)
    sample["core"] = (cpu_seconds(target.pid) - before) / seconds
    return sample
