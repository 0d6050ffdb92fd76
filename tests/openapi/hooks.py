"""What schemathesis needs to know beyond the description, to send what is right and wrong by it."""

import uuid

import schemathesis
from hypothesis import strategies as st

# What the description calls iso-8601: real days, in the forms that it names.
dates = st.dates().map(lambda date: date.isoformat())
zones = st.sampled_from(["", "Z", "+01:00", "-0530", "+14"])
times = st.builds(lambda time, zone: time.isoformat() + zone, st.times(), zones)
schemathesis.openapi.format("iso-8601", dates | st.builds("{}T{}".format, dates, times) | st.builds("{} {}".format, dates, times))

EVENT = (
    '{{"request_id":"r-{}","service":"till","env":"shop","timestamp":"2026-01-31T09:15:00Z","action":"sale",'
    '"level":"info","message":"m"}}'
)
lines = st.lists(st.integers(0, 10**9).map(EVENT.format), min_size=1, max_size=5)
schemathesis.openapi.media_type("application/x-ndjson", lines.map(lambda each: "\n".join(each).encode()))


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """A key that two requests share would rightly be refused: each that may be used is its request's own."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and len(key) <= 255 and key.isascii() and key.isprintable():
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


@schemathesis.hook
def before_load_schema(ctx, raw_schema):
    """Lines come from the strategy above, which has no room for the example in the description."""
    content = raw_schema["paths"]["/api/logs/ingest/batch"]["post"]["requestBody"]["content"]
    del content["application/x-ndjson"]["example"]
