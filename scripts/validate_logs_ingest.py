#!/usr/bin/env python3
"""Checks a running logs-ingest from the outside against its wire contract.

Works with Python 3.8 and newer, standard library only, so that it can be copied to any machine that
reaches the instance. The file reads from the top down: the wire (sockets with deadlines, nothing
assumed of the server), the expectations, the checks by group, the run.

A check is a name and a function that raises `Mismatch` when the instance answers otherwise than the
contract says. Every read, answer and wait has a limit, and so has the whole run.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import os
import re
import select
import socket
import sys
import time
import urllib.parse
import uuid
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

INGEST = "/api/logs/ingest"
BATCH = "/api/logs/ingest/batch"
SERVICE = "validate-logs-ingest"
RUN_ID = uuid.uuid4().hex[:8]

# The limits of this program itself.
HEAD_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 1024 * 1024
UPLOAD_BYTES_MAX = 32 * 1024 * 1024
RUN_SECONDS_MAX = 300.0
SHOWN_CHARS_MAX = 2000
TRACED_CHARS_MAX = 240

# The limits that the contract gives for a request's head and for nesting.
CONTRACT_HEAD_BYTES = 16 * 1024
CONTRACT_HEAD_FIELDS = 100
CONTRACT_DEPTH = 100


# ---------------------------------------------------------------------------------------- the wire


class Mismatch(Exception):
    """The instance answered, but not as the contract says."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class Unanswered(Exception):
    """No whole HTTP answer came."""


class Answer(NamedTuple):
    """One HTTP answer, its header names in lower case."""

    status: int
    headers: List[Tuple[str, str]]
    body: bytes

    def header(self, name: str) -> Optional[str]:
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        try:
            return json.loads(self.body.decode("utf-8"))
        except ValueError as error:
            raise Mismatch("a JSON body", self.shown()) from error

    def shown(self, limit: int = SHOWN_CHARS_MAX) -> str:
        return f"{self.status} {short(self.body, limit)}".rstrip()


class Target(NamedTuple):
    host: str
    port: int
    timeout_s: float

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Wire:
    """One TCP connection that sends raw bytes and reads answers strictly, each within the time limit."""

    def __init__(self, target: Target) -> None:
        self._timeout_s = target.timeout_s
        try:
            self._socket = socket.create_connection((target.host, target.port), target.timeout_s)
        except OSError as error:
            raise Unanswered(f"cannot connect to {target.authority}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Sends all of it. An instance that hangs up first may have answered early: the answer decides."""
        self._socket.settimeout(self._timeout_s)
        with contextlib.suppress(ConnectionError, socket.timeout):
            self._socket.sendall(data)

    def readable(self, within_s: float) -> bool:
        """Has an answer, or the end of the connection, arrived?"""
        return bool(self._received or select.select([self._socket], [], [], within_s)[0])

    def answer(self, to_head: bool = False) -> Answer:
        """Reads one answer. `to_head` says that the request was a HEAD, whose answer has no body."""
        deadline = time.monotonic() + self._timeout_s
        head = self._until(b"\r\n\r\n", HEAD_BYTES_MAX, deadline)
        status, headers = parse_head(head)
        answer = Answer(status, headers, b"")
        if to_head or status in (100, 204, 304):
            return answer
        if "chunked" in (answer.header("transfer-encoding") or "").lower():
            return answer._replace(body=self._chunks(deadline))
        length = answer.header("content-length")
        if length is None or not length.isdigit() or int(length) > ANSWER_BYTES_MAX:
            raise Unanswered(f"the answer {status} has no usable Content-Length: {length!r}")
        return answer._replace(body=self._exactly(int(length), deadline))

    def at_end(self) -> bool:
        """Waits for the other side to close. False when bytes come, or nothing happens, instead."""
        deadline = time.monotonic() + self._timeout_s
        try:
            return not self._received and not self._more(deadline)
        except Unanswered as error:
            return isinstance(error.__cause__, ConnectionError)

    def _more(self, deadline: float) -> bytes:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise Unanswered(f"no whole answer within {self._timeout_s:g} s")
        self._socket.settimeout(left_s)
        try:
            data = self._socket.recv(64 * 1024)
        except socket.timeout as error:
            raise Unanswered(f"no whole answer within {self._timeout_s:g} s") from error
        except OSError as error:
            raise Unanswered(f"the connection broke before a whole answer came: {error}") from error
        self._received += data
        return data

    def _until(self, mark: bytes, limit: int, deadline: float) -> bytes:
        while mark not in self._received:
            if len(self._received) > limit:
                raise Unanswered(f"more than {limit} bytes came without the end of the head or line")
            if not self._more(deadline):
                raise Unanswered(f"the connection was closed, before it came only {short(self._received)}")
        found, _, self._received = self._received.partition(mark)
        return found

    def _exactly(self, count: int, deadline: float) -> bytes:
        while len(self._received) < count:
            if not self._more(deadline):
                raise Unanswered(f"the connection was closed {count - len(self._received)} bytes too early")
        found, self._received = self._received[:count], self._received[count:]
        return found

    def _chunks(self, deadline: float) -> bytes:
        body = b""
        while True:
            line = self._until(b"\r\n", 1024, deadline)
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError as error:
                raise Unanswered(f"the answer has a bad chunk size: {line!r}") from error
            if len(body) + size > ANSWER_BYTES_MAX:
                raise Unanswered(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
            body += self._exactly(size, deadline)
            self._until(b"\r\n", 1024, deadline)
            if size == 0:
                return body


def parse_head(head: bytes) -> Tuple[int, List[Tuple[str, str]]]:
    """Status and fields of an answer's head, without its blank line."""
    lines = head.decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |$)", lines[0])
    if not match:
        raise Unanswered(f"not an HTTP answer: {short(head)}")
    fields = [line.partition(":") for line in lines[1:]]
    return int(match.group(1)), [(name.lower(), value.strip()) for name, _, value in fields]


def short(data: Any, limit: int = SHOWN_CHARS_MAX) -> str:
    """Bytes or text for a terminal: printable ASCII, of bounded length."""
    text = data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)
    shown = "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text[:limit])
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"


class Client:
    """Requests to the instance. Plain ones share a kept-alive connection; `wire` opens a fresh one."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.trace: List[str] = []
        self._kept: Optional[Wire] = None
        self._body_limit: Optional[int] = None

    def wire(self) -> Wire:
        return Wire(self.target)

    def build(
        self, method: str, path: str, body: Optional[bytes] = None, headers: Sequence[str] = (), version: str = "1.1"
    ) -> bytes:
        """A request as bytes. `headers` are whole lines, sent as they stand."""
        lines = [f"{method} {path} HTTP/{version}", f"Host: {self.target.authority}", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    def request(self, method: str, path: str, body: Optional[bytes] = None, headers: Sequence[str] = ()) -> Answer:
        return self._exchange(self.build(method, path, body, headers), method == "HEAD")

    def post(self, body: bytes, headers: Sequence[str] = ("Content-Type: application/json",)) -> Answer:
        return self.request("POST", INGEST, body, headers)

    def once(self, request: bytes, to_head: bool = False) -> Answer:
        """One request on a connection of its own."""
        with self.wire() as wire:
            wire.send(request)
            return self.traced(request, wire.answer(to_head))

    def traced(self, request: bytes, answer: Answer) -> Answer:
        self.trace.append(f"sent {short(request, TRACED_CHARS_MAX)}")
        self.trace.append(f"came {answer.shown(TRACED_CHARS_MAX)}")
        return answer

    def body_limit(self) -> int:
        """The largest body that the instance takes, as its own 413 names it."""
        if self._body_limit is None:
            head = self.build("POST", INGEST, headers=["Content-Length: 30000000000"])
            detail = want_detail(self.once(head), 413)
            numbers = [int(number) for number in re.findall(r"\d+", detail)]
            if not numbers or not 0 < max(numbers) <= UPLOAD_BYTES_MAX:
                raise Mismatch(f"413 whose detail names a limit of 1 to {UPLOAD_BYTES_MAX} bytes", short(detail))
            self._body_limit = max(numbers)
        return self._body_limit

    def hang_up(self) -> None:
        if self._kept is not None:
            self._kept.__exit__()
            self._kept = None

    def _exchange(self, request: bytes, to_head: bool) -> Answer:
        # An instance may close a connection between requests: ordinary, and no request is lost by it.
        if self._kept is not None and self._kept.readable(0):
            self.hang_up()
        if self._kept is None:
            self._kept = self.wire()
        try:
            self._kept.send(request)
            answer = self._kept.answer(to_head)
        except Unanswered:
            self.hang_up()
            raise
        if (answer.header("connection") or "").lower() == "close":
            self.hang_up()
        return self.traced(request, answer)


# -------------------------------------------------------------------------------- the expectations

SCHEMA = (
    "request_id service env timestamp action level message user_id product_id price quantity error_code stack "
    "app_version raw_data"
).split()
REQUIRED = SCHEMA[:7]
REQUIRED_STR = ["request_id", "service", "env", "action", "message"]
OPTIONAL_STR = ["user_id", "product_id", "error_code", "stack", "app_version"]

MESSAGES = {
    "missing": "Field required",
    "json_invalid": "JSON decode error",
    "model_attributes_type": "Input should be a valid dictionary or object to extract fields from",
    "string_type": "Input should be a valid string",
    "value_error": "timestamp must be ISO 8601 format",
    "enum": "Input should be 'debug', 'info', 'warn', 'error' or 'critical'",
    "float_type": "Input should be a valid number",
    "float_parsing": "Input should be a valid number, unable to parse string as a number",
    "int_type": "Input should be a valid integer",
    "int_parsing": "Input should be a valid integer, unable to parse string as an integer",
    "int_from_float": "Input should be a valid integer, got a number with a fractional part",
    "int_parsing_size": "Unable to parse input string as an integer, exceeded maximum size",
    "finite_number": "Input should be a finite number",
    "dict_type": "Input should be a valid dictionary",
}

UTC_MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Literal(str):
    """JSON text that goes into a body as it stands, such as `1e2`, which a serialiser would rewrite."""


ABSENT = Literal("")


def literal(value: Any) -> str:
    """A value as JSON text."""
    return str(value) if isinstance(value, Literal) else json.dumps(value)


def event(**changes: Any) -> Dict[str, Any]:
    """A valid event, with fields changed, added, or taken away by `ABSENT`."""
    fields: Dict[str, Any] = {
        "request_id": f"validate-{RUN_ID}-{uuid.uuid4().hex[:12]}",
        "service": SERVICE,
        "env": "test",
        "timestamp": "2025-11-18T17:21:35.750Z",
        "action": "validate",
        "level": "info",
        "message": "written by validate_logs_ingest.py",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ABSENT}


def encode(fields: Dict[str, Any]) -> bytes:
    return ("{" + ",".join(f"{json.dumps(name)}:{literal(value)}" for name, value in fields.items()) + "}").encode()


def event_body(**changes: Any) -> bytes:
    return encode(event(**changes))


def item(field: str, kind: str) -> Dict[str, Any]:
    return {"loc": ["body", field], "msg": MESSAGES[kind], "type": kind}


def want_status(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        raise Mismatch(str(status), answer.shown())
    return answer


def want_detail(answer: Answer, status: int) -> str:
    """Any error but 422: its status and `{"detail": "<text>"}`."""
    body = want_status(answer, status).json()
    if not isinstance(body, dict) or list(body) != ["detail"] or not isinstance(body["detail"], str):
        raise Mismatch(f'{status} {{"detail":"..."}}', answer.shown())
    return body["detail"]


def want_exact(answer: Answer, status: int, body: bytes) -> None:
    if (answer.status, answer.body) != (status, body):
        raise Mismatch(f"{status} {short(body)}", answer.shown())


def want_stored(answer: Answer, request_id: Optional[str] = None) -> Answer:
    """202 with the four keys, in order, now in UTC."""
    body = want_status(answer, 202).json()
    if not isinstance(body, dict) or list(body) != ["status", "request_id", "message", "timestamp"]:
        raise Mismatch("the keys status, request_id, message, timestamp in this order", answer.shown())
    if body["status"] != "accepted" or body["message"] != "Log ingested and queued for processing":
        raise Mismatch('status "accepted", message "Log ingested and queued for processing"', answer.shown())
    if not isinstance(body["timestamp"], str) or not UTC_MILLISECONDS.fullmatch(body["timestamp"]):
        raise Mismatch("a timestamp such as 2025-11-18T17:21:35.750Z", repr(body["timestamp"]))
    if request_id is not None and body["request_id"] != request_id:
        raise Mismatch(f"request_id {literal(request_id)}", literal(body["request_id"]))
    return answer


def want_items(answer: Answer, items: List[Dict[str, Any]]) -> Answer:
    """422 with exactly these items in this order, three keys each."""
    expected = {"detail": items}
    if answer.status != 422 or answer.json() != expected:
        raise Mismatch(f"422 {short(json.dumps(expected, separators=(',', ':')))}", answer.shown())
    return answer


Run = Callable[[Client], Any]


def stored(client: Client, body: bytes, headers: Sequence[str] = (), request_id: Optional[str] = None) -> None:
    want_stored(client.post(body, headers or ["Content-Type: application/json"]), request_id)


def refused(client: Client, body: bytes, items: List[Dict[str, Any]]) -> None:
    want_items(client.post(body), items)


def accept(field: str, *values: Any) -> Iterator[Tuple[str, Run]]:
    """One check a value that the field takes."""
    for value in values:
        yield f"{field} {short(literal(value))} is accepted", partial(stored, body=event_body(**{field: value}))


def refuse(field: str, kind: str, *values: Any) -> Iterator[Tuple[str, Run]]:
    """One check a value that the field refuses in this way."""
    for value in values:
        shown = "absent" if value is ABSENT else short(literal(value))
        run = partial(refused, body=event_body(**{field: value}), items=[item(field, kind)])
        yield f"{field} {shown} is {kind}", run


# --------------------------------------------------------------------------- checks: what is stored


def valid_checks() -> Iterator[Tuple[str, Run]]:
    everything = event(
        user_id="u", product_id="p", price=12.5, quantity=3, error_code="E1", stack="a\n  b", app_version="1.0",
        raw_data={"a": [1, 2.5, None, {"b": "c"}]},
    )
    rid = f"validate-{RUN_ID}-\u00e9\u20ac\U0001f600\"\\\u0000"
    yield "only the required fields", partial(stored, body=event_body())
    yield "every field", partial(stored, body=encode(everything))
    yield "every optional field null", partial(stored, body=event_body(**dict.fromkeys(SCHEMA[7:])))
    yield "unknown fields", partial(stored, body=event_body(till=7, extra={"deep": [True, None]}, Level="x"))
    yield "request_id comes back as sent", partial(stored, body=event_body(request_id=rid), request_id=rid)
    yield "empty strings", partial(stored, body=event_body(service="", env="", action="", message="", user_id=""))
    yield "blanks are not trimmed", partial(stored, body=event_body(request_id=" validate- "), request_id=" validate- ")
    yield "U+0000 and other controls, escaped", partial(stored, body=event_body(message="a\u0000b\u001f\u007f"))
    yield "raw UTF-8", partial(stored, body=event_body().replace(b"written", "größe €😀".encode()))
    yield "a message of 10,000 characters", partial(stored, body=event_body(message="x" * 10_000))
    yield "a byte order mark", partial(stored, body=b"\xef\xbb\xbf" + event_body())
    spaced = b" \r\n\t" + event_body().replace(b",", b" ,\n") + b"\n "
    yield "white space around and within", partial(stored, body=spaced)
    yield "an escaped key is the key", partial(stored, body=event_body().replace(b'"level"', b'"\\u006cevel"'))
    yield "of a duplicated key the last wins", partial(stored, body=b'{"level":"bad",' + event_body()[1:])
    for levels in (2, CONTRACT_DEPTH):
        yield f"raw_data, {levels} levels with the event's own", partial(stored, body=nested_raw_data(levels))
    yield f"an unknown field, {CONTRACT_DEPTH} levels", partial(stored, body=nested_unknown(CONTRACT_DEPTH))
    yield from accept("level", "debug", "info", "warn", "error", "critical")
    yield from accept("price", 0, -1, 12.5, 10**30, Literal("-0.0"), Literal("1e3"), Literal("1E-400"), True, False)
    yield from accept("price", "12.5", " 12.5 ", "\u00a012.5\u2003", "+1", "-1", ".5", "5.", "1e3", "1E-3", "00012")
    yield from accept("quantity", 0, 3, -3, 2**63 - 1, -(2**63), True, False)
    literals = ["3.0", "1e2", "-0.0", "3.0000000000000000000001", "1e-400", "0.1e1"]
    yield from accept("quantity", *map(Literal, literals))
    yield from accept("quantity", "3", "+3", "-3", " 3 ", "\u00a03\u2003", "007", "3.00", str(2**63 - 1))
    yield from accept("raw_data", {}, Literal('{"n":1.000000000000000000001,"n":2}'))


def nested_raw_data(levels: int) -> bytes:
    """An event whose raw_data makes the body this many levels deep: the event, raw_data, then arrays."""
    return event_body(raw_data=Literal('{"a":' + "[" * (levels - 2) + "]" * (levels - 2) + "}")).replace(
        b'{"a":}', b'{"a":0}'
    )


def nested_unknown(levels: int) -> bytes:
    return event_body(extra=Literal('{"a":' * (levels - 1) + "0" + "}" * (levels - 1)))


# -------------------------------------------------------------------------- checks: what is refused


def field_checks() -> Iterator[Tuple[str, Run]]:
    for field in REQUIRED:
        yield from refuse(field, "missing", ABSENT)
    for field in [*REQUIRED_STR, "timestamp"]:
        yield from refuse(field, "string_type", None, 7, True, [], {})
    for field in OPTIONAL_STR:
        yield from refuse(field, "string_type", 7, 1.5, False, ["x"], {"x": 1})
    yield from refuse("level", "enum", "INFO", "warning", "", " info", "info ", "inf\u00f6", None, 1, True, [], {})
    yield from refuse("price", "float_type", [], {}, [1])
    yield from refuse("price", "float_parsing", "", " ", "abc", "1,5", "0x10", "$12", "\u0663", "1_000", "1 2", "--1")
    yield from refuse("price", "float_parsing", "12.5 EUR", "\u200b1", "e5", ".", "+", "true", "null")
    yield from refuse("price", "finite_number", "inf", "-inf", "nan", "NaN", "infinity", "+Infinity", "1e400", "-1e400")
    yield from refuse("quantity", "int_type", [], {}, [1])
    yield from refuse("quantity", "int_parsing", "", " ", "abc", "3.", ".0", "3e2", "3 pcs", "3.5", "1_000", "\u0663")
    yield from refuse("quantity", "int_parsing", "0x10", "--3", "+", "+ 3", "3.0.0", "true", "nan")
    yield from refuse("quantity", "int_from_float", Literal("3.5"), Literal("1e-1"), Literal("-0.5"))
    yield from refuse("quantity", "int_parsing_size", 2**63, -(2**63) - 1, 10**30, Literal("1e19"), Literal("-1e300"))
    yield from refuse("quantity", "int_parsing_size", str(2**63), "-99999999999999999999", "99999999999999999999.0")
    yield from refuse("raw_data", "dict_type", "x", "{}", 1, True, [], [{}])
    yield "a key in another case is another key", partial(
        refused, body=event_body().replace(b'"level"', b'"Level"'), items=[item("level", "missing")]
    )
    yield "a wrong duplicate that comes last", partial(
        refused, body=event_body()[:-1] + b',"level":"bad"}', items=[item("level", "enum")]
    )
    yield "the answer, byte for byte", field_error_bytes


def field_error_bytes(client: Client) -> None:
    expected = b'{"detail":[{"loc":["body","env"],"msg":"Field required","type":"missing"}]}'
    want_exact(client.post(event_body(env=ABSENT)), 422, expected)


def several_checks() -> Iterator[Tuple[str, Run]]:
    yield "nothing sent: all seven are missing", partial(
        refused, body=b"{}", items=[item(field, "missing") for field in REQUIRED]
    )
    wrong: Dict[str, Tuple[Any, str]] = {field: (7, "string_type") for field in [*REQUIRED_STR, *OPTIONAL_STR]}
    wrong.update(timestamp=("now", "value_error"), level=("loud", "enum"), price=("cheap", "float_parsing"))
    wrong.update(quantity=("some", "int_parsing"), raw_data=("x", "dict_type"))
    backwards = {field: wrong[field][0] for field in reversed(SCHEMA)}
    everything = [item(field, wrong[field][1]) for field in SCHEMA]
    yield "all fifteen wrong, sent backwards", partial(refused, body=encode(backwards), items=everything)
    mixed = {field: wrong[field][0] for field in ("raw_data", "quantity", "env", "timestamp")}
    kinds = {**dict.fromkeys(REQUIRED, "missing"), **{field: wrong[field][1] for field in mixed}}
    yield "missing and wrong mixed", partial(
        refused, body=encode(mixed), items=[item(field, kinds[field]) for field in SCHEMA if field in kinds]
    )
    yield "unknown fields are no errors beside wrong ones", partial(
        refused, body=event_body(till=[1], level=3), items=[item("level", "enum")]
    )


def body_checks() -> Iterator[Tuple[str, Run]]:
    yield "no body: missing", partial(
        refused, body=b"", items=[{"loc": ["body"], "msg": MESSAGES["missing"], "type": "missing"}]
    )
    broken = event_body()
    for name, body in (
        ("blank", b" \r\n\t"), ("an open brace", b"{"), ("no JSON", b"hello"), ("form data", b"level=info&env=prod"),
        ("cut off", broken[:-1]), ("cut off in a string", broken[:40]), ("trailing text", broken + b"x"),
        ("two events", broken + b"\n" + broken), ("a trailing comma", broken[:-1] + b",}"),
        ("single quotes", b"{'level':'info'}"), ("a comment", b"{/* */}"), ("a bare key", b'{level:"info"}'),
        ("01", event_body(price=Literal("01"))), ("+1", event_body(price=Literal("+1"))),
        (".5", event_body(price=Literal(".5"))), ("5.", event_body(price=Literal("5."))),
        ("True", event_body(price=Literal("True"))),
        ("NaN", event_body(price=Literal("NaN"))), ("Infinity", event_body(price=Literal("Infinity"))),
        ("-Infinity in an unknown field", event_body(extra=Literal("[-Infinity]"))),
        ("1e400", event_body(price=Literal("1e400"))),
        ("-1e400 in raw_data", event_body(raw_data=Literal('{"a":-1e400}'))),
        ("an integer of 400 digits in an unknown field", event_body(extra=Literal("9" * 400))),
        ("a lone high surrogate", event_body(message=Literal('"\\ud800"'))),
        ("a lone low surrogate in a key", event_body(raw_data=Literal('{"\\udc00":1}'))),
        ("surrogates the wrong way round", event_body(extra=Literal('"\\udc00\\ud800"'))),
        ("a bad escape", event_body(message=Literal('"\\x41"'))),
        ("a raw line feed in a string", event_body(message=Literal('"\n"'))),
        ("a raw U+0000", broken + b"\0"), ("invalid UTF-8", broken.replace(b"written", b"wr\xfftten")),
        ("a surrogate in UTF-8", broken.replace(b"written", b"\xed\xa0\x80")),
        ("overlong UTF-8", broken.replace(b"written", b"\xc0\xaf")),
        ("UTF-16", broken.decode().encode("utf-16")), ("UTF-16 without a mark", broken.decode().encode("utf-16-le")),
        ("only a byte order mark", b"\xef\xbb\xbf"),
        (f"raw_data, {CONTRACT_DEPTH + 1} levels", nested_raw_data(CONTRACT_DEPTH + 1)),
        (f"an unknown field, {CONTRACT_DEPTH + 1} levels", nested_unknown(CONTRACT_DEPTH + 1)),
        ("200,000 open brackets", b"[" * 200_000), ("200,000 levels, closed", b"[" * 200_000 + b"]" * 200_000),
    ):
        yield f"{name}: json_invalid", partial(json_invalid, body=body)
    for text in ("null", "true", "false", "1", "-1.5", '"x"', "[]", "[{}]", "[" + broken.decode() + "]"):
        yield f"{short(text)[:24]}: model_attributes_type", partial(
            refused, body=text.encode(),
            items=[{"loc": ["body"], "msg": MESSAGES["model_attributes_type"], "type": "model_attributes_type"}],
        )


def json_invalid(client: Client, body: bytes) -> None:
    """The offset is counted in characters by some and in bytes by others: within the body it must lie."""
    answer = want_status(client.post(body), 422)
    detail = answer.json().get("detail") if isinstance(answer.json(), dict) else None
    found = detail[0] if isinstance(detail, list) and len(detail) == 1 and isinstance(detail[0], dict) else {}
    loc = found.get("loc")
    offset = loc[1] if isinstance(loc, list) and len(loc) == 2 else None
    in_body = type(offset) is int and 0 <= offset <= len(body)
    if not in_body or found != {"loc": ["body", offset], "msg": MESSAGES["json_invalid"], "type": "json_invalid"}:
        raise Mismatch(
            f'422, one item: loc ["body", 0..{len(body)}], msg "JSON decode error", type "json_invalid"', answer.shown()
        )


# ---------------------------------------------------------------------------- checks: the timestamp

DATES = (
    "2025-11-18 20251118 2025-W47 2025-W47-2 2025W47 2025W472 2024-02-29 2000-02-29 0001-01-01 9999-12-31 2026-W53 "
    "2020-W53-7"
)
TIMES = (
    "17 17:21 1721 17:21:35 172135 17:21:35.7 17:21:35,750 172135.75 172135,1 17:21:35.123456789012345678 00:00:00 "
    "23:59:59.999"
)
OFFSETS = "Z +01 -05 +0100 +01:00 -05:30 +00:00 -00:00 +23:59 -2359"

NO_DATES = (
    "2025 2025-11 202511 2025-1-8 2025-1-18 2025-1118 202511-18 2025/11/18 18.11.2025 25-11-18 10000-01-01 "
    "+2025-11-18 -2025-11-18 0000-01-01 2025-00-10 2025-13-01 2025-11-00 2025-11-31 2025-02-29 1900-02-29 20250230 "
    "2025-322 2025322 2025-W00 2025-W54 2025-W53 2025-W47-0 2025-W47-8 2025-W472 2025W47-2 2025-W4 2025-w47 0000-W10 "
    "now today 1763486495 1763486495.750 1763486495750 2025-11-18Z 2025-11-18+01:00"
)
NO_TIMES = (
    "24 24:00 24:00:00 23:60 23:59:60 2360 7 7:21 17: 17:2 17:21: 17:21:3 17:21:35. 17:21:35, 172135. 17.5 17:21.5 "
    "1721.5 17:2135 1721:35 17:21:35:00 17-21-35 172 17213 1721350 -1:00 17:21:35.7.5 17:21:35.x 5PM"
)
NO_OFFSETS = "+5 +1:00 +010 +01: +01:0 +24 +24:00 +2400 +23:60 +01:00:00 UTC GMT ZZ Z+01 + - Z01 +01Z +-01 \u221205:00"
NO_TIMESTAMPS = [
    "", " ", "T17:21:35", "17:21:35", "2025-11-18T", "2025-11-18 ", " 2025-11-18", "2025-11-18T17:21:35Z ",
    "\t2025-11-18", "2025-11-18T17:21:35Z\n", "2025-11-18  17:21:35", "2025-11-18T 17:21:35", "2025-11-18_17:21:35",
    "2025-11-18t17:21:35",
    "2025-11-18TT17:21:35", "2025-11-18T17:21:35 Z", "2025-11-18T17:21:35 +01:00", "2025-11-18T17:21:35Z\u0000",
    "Tue, 18 Nov 2025 17:21:35 GMT", "Tue, 18 Nov 2025 17:21:35 +0000", "Nov 18 2025", "2025-11-18\u00a017:21:35",
    "\u0662\u0660\u0662\u0665-11-18", "\uff12\uff10\uff12\uff15-11-18", "2025-11-18T17:21:3\u0665",
]


def timestamp_checks() -> Iterator[Tuple[str, Run]]:
    """Each part of the grammar once with ordinary others, so that a refusal points at the part."""
    yield from accept("timestamp", *DATES.split())
    yield from accept("timestamp", *[f"2025-11-18T{time_}" for time_ in TIMES.split()])
    yield from accept("timestamp", *[f"2025-11-18T17:21:35{offset}" for offset in OFFSETS.split()])
    yield from accept("timestamp", "2025-11-18 17:21:35", "2025-11-18 17:21:35.750+01:00", "2025-11-18T17+01")
    yield from accept("timestamp", "2025-11-18T1721-0530", "20251118T172135Z", "2025-W47-2T17:21:35Z", "2025W472 1721Z")
    yield from refuse("timestamp", "value_error", *NO_DATES.split())
    yield from refuse("timestamp", "value_error", *[f"2025-11-18T{time_}" for time_ in NO_TIMES.split()])
    yield from refuse("timestamp", "value_error", *[f"2025-11-18T17:21:35{offset}" for offset in NO_OFFSETS.split()])
    yield from refuse("timestamp", "value_error", *NO_TIMESTAMPS)


# ----------------------------------------------------------------------------------- checks: HTTP

GET_PATHS = ["/health", "/livez", "/readyz", "/stats"]
NOT_FOUND = b'{"detail":"Not Found"}'
NOT_ALLOWED = b'{"detail":"Method Not Allowed"}'


def path_checks() -> Iterator[Tuple[str, Run]]:
    near_misses = f"{INGEST}/ {INGEST}x /API/logs/ingest /api/logs /api/logs//ingest /health/ /Health"
    for path in ("/nowhere", *near_misses.split()):
        for method in ("GET", "POST"):
            yield f"{method} {path} is 404", partial(not_found, method=method, path=path)
    yield "DELETE /nowhere is 404, not 405", partial(not_found, method="DELETE", path="/nowhere")
    for path, allow in [(INGEST, "POST"), *((path, "GET") for path in GET_PATHS)]:
        for method in ("GET" if allow == "POST" else "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
            yield f"{method} {path} is 405", partial(not_allowed, method=method, path=path, allow=allow)
    for path in ("/api/logs/%69ngest", "/%61pi/logs/inges%74", f"{INGEST}?a=b&c=%20", f"{INGEST}?"):
        yield f"POST {path} is accepted", partial(stored_at, path=path)
    yield "GET /health?verbose=1 is 200", lambda client: want_status(client.request("GET", "/health?verbose=1"), 200)
    yield "GET /%68ealth is 200", lambda client: want_status(client.request("GET", "/%68ealth"), 200)
    too_large = ["Content-Length: 30000000000"]
    yield "404 comes before 413", lambda client: want_detail(
        client.once(client.build("POST", "/nowhere", headers=too_large)), 404
    )
    yield "405 comes before 413", lambda client: want_detail(
        client.once(client.build("PUT", INGEST, headers=too_large)), 405
    )


def stored_at(client: Client, path: str) -> None:
    want_stored(client.request("POST", path, event_body()))


def not_found(client: Client, method: str, path: str) -> None:
    want_exact(client.request(method, path, b"{}" if method == "POST" else None), 404, NOT_FOUND)


def not_allowed(client: Client, method: str, path: str, allow: str) -> None:
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    # On a connection of its own and read to its end: a body after a HEAD would stay unseen otherwise.
    with client.wire() as wire:
        request = client.build(method, path, body, ["Connection: close"])
        wire.send(request)
        answer = client.traced(request, wire.answer(to_head=method == "HEAD"))
        want_exact(answer, 405, b"" if method == "HEAD" else NOT_ALLOWED)
        if answer.header("allow") != allow:
            raise Mismatch(f"Allow: {allow}", f"Allow: {answer.header('allow')}")
        if not wire.at_end():
            raise Mismatch("the end of the connection after the answer", "more bytes, or no end")


def http_checks() -> Iterator[Tuple[str, Run]]:
    for kind in "application/json application/x-www-form-urlencoded text/plain text/html;charset=x rubbish".split():
        yield f"Content-Type: {kind}", partial(stored, body=event_body(), headers=[f"Content-Type: {kind}"])
    yield "no Content-Type", lambda client: want_stored(client.request("POST", INGEST, event_body()))
    yield "the charset is UTF-8 whatever is declared", utf8_always
    yield "Content-Encoding: identity", partial(stored, body=event_body(), headers=["Content-Encoding: identity"])
    yield "an ordinary client, three events on one connection", keep_alive
    yield "Connection: close is kept to", closes
    yield "HTTP/1.0", http_1_0
    yield "chunked", partial(chunked, pieces=3)
    yield "chunked, a byte a chunk", partial(chunked, pieces=10_000)
    yield "chunked, with extensions and a trailer", partial(
        chunked, pieces=3, extension=b";a=b", trailer=b"X-Sum: 1\r\n"
    )
    yield "Expect: 100-continue", expect_continue
    yield "pipelining: five requests at once, answered in order", pipelined
    yield "split packets: a byte at a time, no answer before the last", split
    yield "absolute-form", lambda client: want_stored(
        client.once(client.build("POST", f"http://{client.target.authority}{INGEST}", event_body()))
    )
    yield "header names in any case", lambda client: want_stored(
        client.once(client.build("POST", INGEST, event_body()).replace(b"Content-Length", b"cOnTeNt-LeNgTh"))
    )
    yield f"a head of {CONTRACT_HEAD_FIELDS} fields", lambda client: want_stored(
        client.once(wide_head(client, CONTRACT_HEAD_FIELDS))
    )
    yield f"a head of {CONTRACT_HEAD_BYTES} bytes", lambda client: want_stored(
        client.once(long_head(client, CONTRACT_HEAD_BYTES))
    )
    yield "an event of half the largest size", half_the_limit
    yield "white space up to the largest body", padded_to_the_limit


def utf8_always(client: Client) -> None:
    rid = f"validate-{RUN_ID}-\u00e9"
    body = event_body(request_id=Literal(f'"{rid}"'))
    want_stored(client.post(body, ["Content-Type: application/json; charset=latin-1"]), rid)


def keep_alive(client: Client) -> None:
    target = client.target
    connection = http.client.HTTPConnection(target.host, target.port, timeout=target.timeout_s)
    try:
        connection.connect()
        first = connection.sock
        for _ in range(3):
            fields = event()
            connection.request("POST", INGEST, encode(fields), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read(ANSWER_BYTES_MAX))
            want_stored(answer, fields["request_id"])
            if connection.sock is not first:
                raise Mismatch("the connection kept alive", "the connection closed")
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"http.client: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def closes(client: Client) -> None:
    with client.wire() as wire:
        wire.send(client.build("POST", INGEST, event_body(), ["Connection: close"]))
        want_stored(wire.answer())
        if not wire.at_end():
            raise Mismatch("the connection closed after the answer", "a connection still open")


def http_1_0(client: Client) -> None:
    body = event_body()
    with client.wire() as wire:
        request = f"POST {INGEST} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        wire.send(request)
        want_stored(client.traced(request, wire.answer()))
        if not wire.at_end():
            raise Mismatch("the connection closed after the answer", "a connection still open")


def chunks(body: bytes, pieces: int, extension: bytes = b"") -> bytes:
    step = max(1, len(body) // pieces)
    parts = [body[start : start + step] for start in range(0, len(body), step)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)


def chunked(client: Client, pieces: int, extension: bytes = b"", trailer: bytes = b"") -> None:
    fields = event()
    head = client.build("POST", INGEST, headers=["Transfer-Encoding: chunked"])
    with client.wire() as wire:
        request = head + chunks(encode(fields), pieces, extension) + b"0\r\n" + trailer + b"\r\n"
        wire.send(request)
        want_stored(client.traced(request, wire.answer()), fields["request_id"])
        # The trailer must not have been taken for the next request.
        wire.send(client.build("GET", "/livez"))
        want_status(wire.answer(), 200)


def expect_continue(client: Client) -> None:
    body = event_body()
    request = client.build("POST", INGEST, body, ["Expect: 100-continue"])
    with client.wire() as wire:
        wire.send(request[: -len(body)])
        want_status(wire.answer(), 100)
        wire.send(body)
        want_stored(client.traced(request, wire.answer()))


def pipelined(client: Client) -> None:
    events = [event() for _ in range(4)]
    requests = [client.build("POST", INGEST, encode(fields)) for fields in events]
    requests.insert(2, client.build("POST", INGEST, b"{"))
    with client.wire() as wire:
        wire.send(b"".join(requests))
        for position, fields in enumerate([*events[:2], None, *events[2:]]):
            answer = client.traced(requests[position], wire.answer())
            if fields is None:
                want_status(answer, 422)
            else:
                want_stored(answer, fields["request_id"])


def split(client: Client) -> None:
    request = client.build("POST", INGEST, event_body())
    looked_at = {10, len(request) // 2, len(request) - 1}
    with client.wire() as wire:
        for position in range(len(request)):
            if position in looked_at and wire.readable(0.05):
                raise Mismatch(f"no answer after {position} of {len(request)} bytes", wire.answer().shown())
            wire.send(request[position : position + 1])
        want_stored(client.traced(request, wire.answer()))


def wide_head(client: Client, fields: int) -> bytes:
    """A request with this many fields, Host and Content-Length among them."""
    return client.build("POST", INGEST, event_body(), [f"X-Filler-{number}: x" for number in range(fields - 2)])


def long_head(client: Client, size: int) -> bytes:
    """A request whose head, with its blank line, has this many bytes."""
    bare = client.build("POST", INGEST, event_body(), ["X-Filler: "]).index(b"\r\n\r\n") + 4
    return client.build("POST", INGEST, event_body(), ["X-Filler: " + "x" * (size - bare)])


def half_the_limit(client: Client) -> None:
    want_stored(client.post(event_body(message="x" * (client.body_limit() // 2))))


def padded_to_the_limit(client: Client) -> None:
    body = event_body()
    want_stored(client.post(body + b" " * (client.body_limit() - len(body))))


# ------------------------------------------------------------------------------- checks: bad HTTP


def framing_checks() -> Iterator[Tuple[str, Run]]:
    post, length = f"POST {INGEST} HTTP/1.1\r\n", "Content-Length: 2\r\n"
    host, te = "Host: x\r\n", "Transfer-Encoding: chunked\r\n"
    for name, request in (
        ("no HTTP at all", "hello\r\n\r\n"),
        ("a request line without a version", f"POST {INGEST}\r\n{host}{length}\r\n{{}}"),
        ("HTTP/2.0", f"POST {INGEST} HTTP/2.0\r\n{host}{length}\r\n{{}}"),
        ("no Host", f"{post}{length}\r\n{{}}"),
        ("two Hosts", f"{post}{host}Host: y\r\n{length}\r\n{{}}"),
        ("a field without a colon", f"{post}{host}rubbish\r\n{length}\r\n{{}}"),
        ("a blank before the colon", f"{post}{host}Content-Length : 2\r\n\r\n{{}}"),
        ("U+0000 in a value", f"{post}{host}X-A: a\0b\r\n{length}\r\n{{}}"),
        ("Content-Length -1", f"{post}{host}Content-Length: -1\r\n\r\n"),
        ("Content-Length +2", f"{post}{host}Content-Length: +2\r\n\r\n{{}}"),
        ("Content-Length 0x2", f"{post}{host}Content-Length: 0x2\r\n\r\n{{}}"),
        ("Content-Length, empty", f"{post}{host}Content-Length: \r\n\r\n{{}}"),
        ("two different Content-Lengths", f"{post}{host}{length}Content-Length: 3\r\n\r\n{{}} "),
        ("Content-Length 2, 3", f"{post}{host}Content-Length: 2, 3\r\n\r\n{{}} "),
        ("Content-Length and chunked", f"{post}{host}{length}{te}\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: gzip", f"{post}{host}Transfer-Encoding: gzip\r\n\r\n{{}}"),
        ("Transfer-Encoding: chunked, gzip", f"{post}{host}{te[:-2]}, gzip\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunkedx", f"{post}{host}{te[:-2]}x\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        ("a chunk size that is no number", f"{post}{host}{te}\r\nxyz\r\n{{}}\r\n0\r\n\r\n"),
        ("a negative chunk size", f"{post}{host}{te}\r\n-2\r\n{{}}\r\n0\r\n\r\n"),
        ("a chunk size beyond 64 bits", f"{post}{host}{te}\r\n{'f' * 17}\r\n{{}}\r\n0\r\n\r\n"),
        ("other bytes than CRLF after a chunk", f"{post}{host}{te}\r\n2\r\n{{}}xx0\r\n\r\n"),
        ("a chunk longer than its size", f"{post}{host}{te}\r\n1\r\n{{}}\r\n0\r\n\r\n"),
    ):
        statuses = (400, 413) if "beyond" in name else (400,)
        raw = request.encode("latin-1")
        yield f"{name} is {statuses[0]}, closed", partial(closed_with, request=raw, statuses=statuses)
    yield f"{CONTRACT_HEAD_FIELDS + 1} fields are 431, closed", lambda client: closed_with(
        client, wide_head(client, CONTRACT_HEAD_FIELDS + 1), (431,)
    )
    yield f"a head of {CONTRACT_HEAD_BYTES + 1} bytes is 431, closed", lambda client: closed_with(
        client, long_head(client, CONTRACT_HEAD_BYTES + 1), (431,)
    )
    yield "a head of 1 MiB is 431, closed", lambda client: closed_with(client, long_head(client, 1024 * 1024), (431,))
    yield "a target of 64 KiB is 431, closed", lambda client: closed_with(
        client, client.build("GET", "/" + "x" * 65_536), (431,)
    )
    yield "Expect: rubbish is 417, closed", lambda client: closed_with(
        client, client.build("POST", INGEST, event_body(), ["Expect: rubbish"]), (417,)
    )
    yield "Content-Encoding: br is 415 with Accept-Encoding", unsupported_encoding
    yield "413 names the limit", Client.body_limit
    yield "413 by a declared length, half-way through the upload", declared_too_large
    yield "413 by a declared length of 2^64 - 1", lambda client: want_detail(
        client.once(client.build("POST", INGEST, headers=[f"Content-Length: {2**64 - 1}"])), 413
    )
    yield "413 instead of 100 Continue", lambda client: want_detail(
        client.once(client.build("POST", INGEST, headers=["Content-Length: 30000000000", "Expect: 100-continue"])), 413
    )
    yield "413 to a chunked body without an end", chunked_too_large
    yield "413 to an event that fits the body's limit alone", event_too_large
    yield "after all this, others are served", lambda client: want_stored(
        client.once(client.build("POST", INGEST, event_body()))
    )


def closed_with(client: Client, request: bytes, statuses: Tuple[int, ...]) -> None:
    with client.wire() as wire:
        wire.send(request)
        answer = client.traced(request, wire.answer())
        if answer.status not in statuses:
            raise Mismatch(" or ".join(map(str, statuses)), answer.shown())
        want_detail(answer, answer.status)
        if not wire.at_end():
            raise Mismatch("the connection closed after the answer", "more bytes, or a connection still open")


def unsupported_encoding(client: Client) -> None:
    answer = client.once(client.build("POST", INGEST, event_body(), ["Content-Encoding: br"]))
    want_detail(answer, 415)
    if not answer.header("accept-encoding"):
        raise Mismatch("415 with Accept-Encoding", "415 without it")


def declared_too_large(client: Client) -> None:
    with client.wire() as wire:
        wire.send(client.build("POST", INGEST, headers=["Content-Length: 30000000000"]) + b" " * 65_536)
        want_detail(wire.answer(), 413)


def chunked_too_large(client: Client) -> None:
    """Chunks until the instance answers, at most four times its limit."""
    left = 4 * client.body_limit()
    chunk = chunks(b" " * 16_384, 1)
    with client.wire() as wire:
        wire.send(client.build("POST", INGEST, headers=["Transfer-Encoding: chunked"]))
        while left > 0 and not wire.readable(0):
            wire.send(chunk)
            left -= 16_384
        want_detail(wire.answer(), 413)


def event_too_large(client: Client) -> None:
    bare = len(event_body(message=""))
    want_detail(client.post(event_body(message="x" * (client.body_limit() - bare))), 413)


# ------------------------------------------------------------------ checks: headers and endpoints


def header_checks() -> Iterator[Tuple[str, Run]]:
    yield "X-Stored-In names a store", stored_in
    yield "X-Ingest-Id is a UUID v7, new for each event", ingest_id
    yield "a refused event has neither", no_store_when_refused
    yield "the answer is application/json: 202", partial(answer_type, method="POST", path=INGEST, good=True)
    yield "the answer is application/json: 422", partial(answer_type, method="POST", path=INGEST, good=False)
    yield "the answer is application/json: 404", partial(answer_type, method="GET", path="/nowhere", good=False)
    for name, method, path, body in (
        ("202", "POST", INGEST, event_body()), ("422", "POST", INGEST, b"{}"), ("404", "GET", "/nowhere", None),
        ("405", "GET", INGEST, None), ("200", "GET", "/health", None),
    ):
        yield f"X-Request-ID is echoed: {name}", partial(echoed, method=method, path=path, body=body)
    yield "no X-Request-ID unless sent", not_echoed
    yield "a long X-Request-ID is capped", echo_capped
    yield "an X-Request-ID beyond ASCII never comes back raw", echo_ascii
    yield "traceparent is accepted", partial(
        stored, body=event_body(), headers=[f"traceparent: 00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"]
    )


def stored_in(client: Client) -> None:
    found = want_stored(client.post(event_body())).header("x-stored-in")
    if found not in ("kafka", "postgres", "spool", "dead-letter"):
        raise Mismatch("X-Stored-In: kafka, postgres, spool or dead-letter", f"X-Stored-In: {found}")


def ingest_id(client: Client) -> None:
    same = event_body()
    found = [want_stored(client.post(same)).header("x-ingest-id") for _ in range(2)]
    for text in found:
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text or "") or uuid.UUID(text).version != 7:
            raise Mismatch("X-Ingest-Id: a UUID v7 in lower case", f"X-Ingest-Id: {text}")
    if found[0] == found[1]:
        raise Mismatch("two events, two ids", f"{found[0]} twice")


def no_store_when_refused(client: Client) -> None:
    answer = want_status(client.post(b"{}"), 422)
    for name in ("X-Stored-In", "X-Ingest-Id"):
        if answer.header(name) is not None:
            raise Mismatch(f"no {name} with a 422", f"{name}: {answer.header(name)}")


def answer_type(client: Client, method: str, path: str, good: bool) -> None:
    answer = client.request(method, path, (event_body() if good else b"{") if method == "POST" else None)
    found = answer.header("content-type") or ""
    if found.split(";")[0].strip().lower() != "application/json":
        raise Mismatch("Content-Type: application/json", f"Content-Type: {found}")


def echoed(client: Client, method: str, path: str, body: Optional[bytes]) -> None:
    sent = f"till-7 / {uuid.uuid4()}"
    found = client.request(method, path, body, [f"X-Request-ID: {sent}"]).header("x-request-id")
    if found != sent:
        raise Mismatch(f"X-Request-ID: {sent}", f"X-Request-ID: {found}")


def not_echoed(client: Client) -> None:
    found = want_stored(client.post(event_body())).header("x-request-id")
    if found is not None:
        raise Mismatch("no X-Request-ID", f"X-Request-ID: {found}")


def echo_capped(client: Client) -> None:
    sent = "0123456789abcdef" * 256
    answer = want_stored(client.post(event_body(), [f"X-Request-ID: {sent}"]))
    found = answer.header("x-request-id") or ""
    if not 0 < len(found) < len(sent) or not sent.startswith(found):
        raise Mismatch(f"a shorter beginning of the {len(sent)} characters sent", f"X-Request-ID: {short(found)}")


def echo_ascii(client: Client) -> None:
    answer = want_stored(client.post(event_body(), ["X-Request-ID: caf\u00e9\u0080"]))
    found = answer.header("x-request-id") or ""
    if not all(" " <= char <= "~" for char in found):
        raise Mismatch("printable ASCII, or no X-Request-ID", f"X-Request-ID: {short(found)}")


def endpoint_checks() -> Iterator[Tuple[str, Run]]:
    yield "GET /health", health
    yield "GET /livez is 200", lambda client: want_status(client.request("GET", "/livez"), 200)
    yield "GET /readyz is 200: the next event could be stored", lambda client: want_status(
        client.request("GET", "/readyz"), 200
    )
    yield "GET /stats", counters
    yield "GET /stats counts an accepted event", stats_count


def health(client: Client) -> None:
    answer = want_status(client.request("GET", "/health"), 200)
    body = answer.json()
    if not isinstance(body, dict):
        raise Mismatch("a JSON object", answer.shown())
    for key, good, expected in (
        ("status", lambda value: value in ("healthy", "degraded"), '"healthy" or "degraded"'),
        ("service", lambda value: value == "logs-ingest", '"logs-ingest"'),
        ("version", lambda value: isinstance(value, str) and value != "", "a version"),
        ("timestamp", lambda value: UTC_MILLISECONDS.fullmatch(str(value)), "now in UTC, milliseconds, Z"),
        ("kafka", lambda value: isinstance(value, dict), "an object"),
        ("spool", lambda value: isinstance(value, dict), "an object"),
        # An instance that knows no Postgres may leave this one out.
        ("postgres", lambda value: value is None or isinstance(value, dict), "an object"),
    ):
        if not good(body.get(key)):
            raise Mismatch(f"{key}: {expected}", f"{key}: {short(literal(body.get(key)))}")


def counters(client: Client) -> Dict[str, float]:
    """Every number of /stats by its path in the JSON."""
    answer = want_status(client.request("GET", "/stats"), 200)
    found: Dict[str, float] = {}
    nodes: List[Tuple[str, Any]] = [("", answer.json())]
    while nodes:
        path, node = nodes.pop()
        if isinstance(node, dict):
            nodes.extend((f"{path}/{key}", value) for key, value in node.items())
        elif isinstance(node, (int, float)) and not isinstance(node, bool):
            found[path] = node
    if not isinstance(answer.json(), dict) or not found:
        raise Mismatch("a JSON object with counters", answer.shown())
    return found


def stats_count(client: Client) -> None:
    before = counters(client)
    want_stored(client.post(event_body()))
    after = counters(client)
    accepted = [path for path in after if "accepted" in path.lower()]
    if not any(after[path] >= before.get(path, 0) + 1 for path in accepted):
        found = {path: after[path] for path in accepted or after}
        raise Mismatch("a counter named accepted that went up", short(found))


# ------------------------------------------------------------------- checks: batches and repeats


def batch_checks() -> Iterator[Tuple[str, Run]]:
    two = [event_body(), event_body()]
    for name, body in (
        ("lines", b"\n".join(two)), ("lines that end in CR LF", b"\r\n".join([*two, b""])), ("one line", two[0]),
        ("blank lines and a byte order mark", b"\xef\xbb\xbf\n \n" + b"\n\n".join(two)),
        ("an array", b"[" + b",".join(two) + b"]"), ("an array over several lines", b" [\n" + b" ,\n".join(two) + b"\n]\n"),
    ):
        count = 1 if body == two[0] else 2
        yield f"stored: {name}", partial(batch, body=body, status=202, word="accepted", accepted=count, rejected=0)
        yield f"stored: {name}, in gzip", partial(
            batch, body=gzip.compress(body), status=202, word="accepted", accepted=count, rejected=0, encoded=True
        )
    mixed = b"\n".join([two[0], b"{oops", b"{}", two[1]])
    yield "a wrong line costs only itself", partial(batch, body=mixed, status=207, word="partial", accepted=2, rejected=2)
    yield "all or none", partial(
        batch, body=mixed, status=422, word="rejected", accepted=0, rejected=4, path=BATCH + "?atomic=true"
    )
    for name, body in (("an empty array", b"[]"), ("blank", b" \n"), ("no byte", b""), ("a broken array", b"[{]")):
        yield f"nothing to store: {name}", partial(
            batch, body=body, status=422, word="rejected", accepted=0, rejected=0
        )
    yield "an array that is no JSON names the character", broken_array
    yield "gzip is taken for one event", partial(
        stored, body=gzip.compress(event_body()), headers=["Content-Encoding: gzip"]
    )
    yield "what is no gzip is 400", no_gzip


def batch(
    client: Client, body: bytes, status: int, word: str, accepted: int, rejected: int, path: str = BATCH,
    encoded: bool = False,
) -> None:
    answer = want_status(client.request("POST", path, body, ["Content-Encoding: gzip"] if encoded else []), status)
    found = answer.json()
    wanted = {"status": word, "accepted": accepted, "rejected": rejected}
    if not isinstance(found, dict) or any(found.get(key) != value for key, value in wanted.items()):
        raise Mismatch(short(wanted), answer.shown())
    if not isinstance(found.get("errors"), list) or not UTC_MILLISECONDS.fullmatch(str(found.get("timestamp"))):
        raise Mismatch("a list of errors and a timestamp", answer.shown())
    if (answer.header("x-stored-in") is not None) != (accepted > 0):
        raise Mismatch("X-Stored-In where something is stored", f"X-Stored-In: {answer.header('x-stored-in')}")


def broken_array(client: Client) -> None:
    answer = want_status(client.request("POST", BATCH, b'["\xc3\xa9",]'), 422)
    if answer.json().get("detail") != [{"loc": ["body", 5], "msg": MESSAGES["json_invalid"], "type": "json_invalid"}]:
        raise Mismatch('detail with loc ["body", 5]', answer.shown())


def no_gzip(client: Client) -> None:
    for path in (INGEST, BATCH):
        want_detail(client.request("POST", path, event_body(), ["Content-Encoding: gzip"]), 400)


def repeat_checks() -> Iterator[Tuple[str, Run]]:
    yield "a repeat gets the first answer: one event", partial(replayed, path=INGEST)
    yield "a repeat gets the first answer: a batch", partial(replayed, path=BATCH)
    yield "the id is derived: a UUID v8", derived
    yield "another body under the same key is 422", other_body
    for name, key in (("empty", ""), ("too long", "k" * 256), ("beyond ASCII", "caf\u00e9")):
        yield f"422 for a key that is {name}", partial(wrong_key, key=key)
    yield "a refusal leaves the key free", freed
    yield "a valid traceparent comes back", partial(traced_back, parent=f"00-{uuid.uuid4().hex}-{RUN_ID}{RUN_ID}-01", is_valid=True)
    yield "an invalid traceparent does not", partial(traced_back, parent="00-0-0-0", is_valid=False)


def keyed(client: Client, key: str, body: bytes, path: str = INGEST) -> Answer:
    return client.request("POST", path, body, [f"Idempotency-Key: {key}"])


def replayed(client: Client, path: str) -> None:
    key, body = str(uuid.uuid4()), event_body()
    first, again = want_status(keyed(client, key, body, path), 202), want_status(keyed(client, key, body, path), 202)
    if first.header("idempotent-replayed") is not None or again.header("idempotent-replayed") != "true":
        raise Mismatch("Idempotent-Replayed: true, on the second alone", again.shown())
    if (first.body, first.header("x-ingest-id")) != (again.body, again.header("x-ingest-id")):
        raise Mismatch(first.shown(), again.shown())


def derived(client: Client) -> None:
    found = want_stored(keyed(client, str(uuid.uuid4()), event_body())).header("x-ingest-id")
    if uuid.UUID(found or "").version != 8:
        raise Mismatch("X-Ingest-Id: a UUID v8", f"X-Ingest-Id: {found}")


def want_key_refused(answer: Answer) -> None:
    detail = want_status(answer, 422).json().get("detail")
    if not isinstance(detail, list) or detail[0].get("loc") != ["header", "idempotency-key"]:
        raise Mismatch('loc ["header", "idempotency-key"]', answer.shown())


def other_body(client: Client) -> None:
    key = str(uuid.uuid4())
    want_stored(keyed(client, key, event_body()))
    want_key_refused(keyed(client, key, event_body()))


def wrong_key(client: Client, key: str) -> None:
    want_key_refused(keyed(client, key, event_body()))


def freed(client: Client) -> None:
    key = str(uuid.uuid4())
    want_status(keyed(client, key, b"{}"), 422)
    want_stored(keyed(client, key, event_body()))


def traced_back(client: Client, parent: str, is_valid: bool) -> None:
    found = want_stored(client.post(event_body(), [f"traceparent: {parent}"])).header("traceparent")
    if found != (parent if is_valid else None):
        raise Mismatch(f"traceparent: {parent if is_valid else None}", f"traceparent: {found}")


# ------------------------------------------------------------------------------------------ the run

GROUPS: Dict[str, Callable[[], Iterator[Tuple[str, Run]]]] = {
    "valid": valid_checks,
    "fields": field_checks,
    "several": several_checks,
    "body": body_checks,
    "timestamp": timestamp_checks,
    "paths": path_checks,
    "http": http_checks,
    "framing": framing_checks,
    "headers": header_checks,
    "batches": batch_checks,
    "repeats": repeat_checks,
    "endpoints": endpoint_checks,
}


class Result(NamedTuple):
    group: str
    check: str
    passed: bool
    expected: str
    got: str
    trace: List[str]


def run_check(client: Client, group: str, name: str, run: Run) -> Result:
    client.trace.clear()
    try:
        run(client)
    except Mismatch as mismatch:
        return Result(group, name, False, mismatch.expected, mismatch.got, list(client.trace))
    except Unanswered as error:
        return Result(group, name, False, "an answer", short(error), list(client.trace))
    return Result(group, name, True, "", "", list(client.trace))


def run_groups(client: Client, groups: Sequence[str]) -> Iterator[Result]:
    """Every check in turn. What an instance that is gone, or a run that is too long, leaves over has failed."""
    deadline = time.monotonic() + RUN_SECONDS_MAX
    stopped = ""
    for group in groups:
        for name, run in GROUPS[group]():
            if not stopped and time.monotonic() > deadline:
                stopped = f"not run: the whole run is limited to {RUN_SECONDS_MAX:g} s"
            if stopped:
                yield Result(group, name, False, "an answer", stopped, [])
                continue
            result = run_check(client, group, name, run)
            yield result
            if result.expected == "an answer" and not accepts_connections(client):
                stopped = "not run: the instance no longer accepts connections"
    client.hang_up()


def accepts_connections(client: Client) -> bool:
    try:
        with client.wire():
            return True
    except Unanswered:
        return False


def print_row(result: Result, verbose: bool) -> None:
    print(f"{result.group:<10} {result.check:<64} {'ok' if result.passed else 'FAILED'}", flush=True)
    if not result.passed:
        print(f"{'':<10}   expected: {result.expected}\n{'':<10}   got:      {result.got}", flush=True)
    if verbose:
        for line in result.trace:
            print(f"{'':<10}   {line}", flush=True)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nTry --help.\n")


def parse_arguments(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = Parser(
        description="Checks a running logs-ingest against its wire contract, from the outside.",
        epilog="THIS WRITES: the instance stores and forwards some 150 events, one of them large, like any other. They "
        f'carry service "{SERVICE}" where a check leaves that field alone, and nearly all of them a request_id that '
        f'begins with "validate-". A run takes seconds, and never much more than {RUN_SECONDS_MAX:g}. '
        "Exit status: 0 all passed, 1 some failed, 2 usage, or no such instance.",
    )
    groups = ", ".join(GROUPS)
    parser.add_argument("url", type=parse_url, help="the instance, such as http://127.0.0.1:8000")
    parser.add_argument("--timeout", type=parse_timeout, default=10.0, metavar="SECONDS", help="of each wait (10)")
    parser.add_argument("--only", action="append", choices=list(GROUPS), metavar="GROUP", help=f"{groups}; repeatable")
    parser.add_argument("--verbose", action="store_true", help="show what was sent and what came")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser.parse_args(arguments)


def parse_url(text: str) -> Tuple[str, int]:
    try:
        url = urllib.parse.urlsplit(text)
        host, port = url.hostname, url.port or 80
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    if url.scheme != "http" or not host or url.path not in ("", "/") or url.query or url.username:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form http://HOST:PORT")
    return host, port


def parse_timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 120.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 120")
    return seconds


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = parse_arguments(arguments)
    client = Client(Target(options.url[0], options.url[1], options.timeout))
    url = f"http://{client.target.authority}"
    try:
        client.once(client.build("GET", "/health", headers=["Connection: close"]))
    except Unanswered as error:
        print(f"{url} is not reachable as an HTTP service: {error}. Is it running?", file=sys.stderr)
        return 2
    results = []
    for result in run_groups(client, [group for group in GROUPS if group in (options.only or GROUPS)]):
        results.append(result)
        if not options.json:
            print_row(result, options.verbose)
    passed = sum(result.passed for result in results)
    failed = len(results) - passed
    if options.json:
        checks = [result._asdict() for result in results]
        if not options.verbose:
            checks = [{key: value for key, value in check.items() if key != "trace"} for check in checks]
        print(json.dumps({"url": url, "passed": passed, "failed": failed, "checks": checks}))
    else:
        print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except BrokenPipeError:
        # The reader of the table went away, as `head` does. Nothing may be flushed to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
