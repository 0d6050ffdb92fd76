#!/usr/bin/env python3
"""Sends events from Python: the standard library alone, version 3.8 or newer. Copy the function into your program.

    python3 log_event.py "copied 12 files"

LOGS_INGEST_URL and LOGS_INGEST_API_KEY say where to and with which key.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone


class Refused(Exception):
    """The event is wrong: sending it again would not help."""


def log_event(service, level, action, message, *, env="shop", give_up_after=60.0, **fields):
    """Sends one event and returns the id under which it is stored. Waits, and tries again, while the daemon is down;
    the Idempotency-Key makes sure that a try whose answer was lost is not stored twice.

    Raises Refused, or OSError when it could not be stored within `give_up_after` seconds.
    """
    event = {
        "request_id": str(uuid.uuid4()),
        "service": service,
        "env": env,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "action": action,
        "level": level,
        "message": message,
        **fields,
    }
    request = urllib.request.Request(
        os.environ.get("LOGS_INGEST_URL", "http://127.0.0.1:8000") + "/api/logs/ingest",
        data=json.dumps(event).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": event["request_id"]},
    )
    if "LOGS_INGEST_API_KEY" in os.environ:
        request.add_header("X-API-Key", os.environ["LOGS_INGEST_API_KEY"])
    until, wait = time.monotonic() + give_up_after, 0.5
    while True:
        asked = 0.0
        try:
            # Longer than the daemon takes at the most: it answers when the event is safe, not before.
            with urllib.request.urlopen(request, timeout=45) as answer:
                return answer.headers["X-Ingest-Id"]
        except urllib.error.HTTPError as error:
            if error.code not in (408, 409, 429, 500, 502, 503, 504):
                raise Refused(f"{error.code}: {error.read().decode()}") from None
            asked = float(error.headers.get("Retry-After") or 0)
            trouble = error
        except OSError as error:
            trouble = error
        if time.monotonic() + max(asked, wait) > until:
            raise OSError(f"the event could not be stored: {trouble}")
        time.sleep(max(asked, wait) * random.uniform(1.0, 1.25))
        wait = min(wait * 2, 10.0)


if __name__ == "__main__":
    print(log_event("python-example", "info", "example", " ".join(sys.argv[1:]) or "hello", raw_data={"pid": os.getpid()}))
