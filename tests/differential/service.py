"""The service that logs-ingest stands in for, in FastAPI and Pydantic v2 (lax mode), from the contract's words.

    python service.py PORT

POST /api/logs/ingest judges one event. A refusal of the whole body that the contract makes and Python's
json would not (NaN, a number beyond a double, a lone surrogate, no UTF-8, too deep) says so in a header,
for of those only the kind is comparable, not the character. An accepted event is answered with its
normalised form in the place of the usual four keys. For tests only.
"""

import json
import math
import re
import sys
from datetime import date
from enum import Enum
from typing import Any, Optional

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

DEPTH_MAX = 100
I64 = range(-(2**63), 2**63)


class Level(str, Enum):
    debug = "debug"
    info = "info"
    warn = "warn"
    error = "error"
    critical = "critical"


DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)|(\d{4})(\d\d)(\d\d)|(\d{4})-W(\d\d)(?:-(\d))?|(\d{4})W(\d\d)(\d)?", re.ASCII)
TIME = re.compile(
    r"(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?(OFFSET)?|(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,]\d+)?)?)?(OFFSET)?".replace(
        "OFFSET", r"Z|[+-]\d\d(?::?\d\d)?"
    ),
    re.ASCII,
)


def is_iso_8601(text: str) -> bool:
    found = DATE.match(text)
    if not found:
        return False
    parts = [int(part) for part in found.groups() if part is not None]
    try:
        if "W" in found.group():
            date.fromisocalendar(*parts, *([1] if len(parts) == 2 else []))
        else:
            date(*parts)
    except ValueError:
        return False
    rest = text[found.end() :]
    if not rest:
        return True
    time = TIME.fullmatch(rest[1:])
    if rest[0] not in "T " or not time:
        return False
    clock = [int(part) for part in time.groups() if part and part.isdecimal()]
    offset = time.group(4) or time.group(8) or ""
    digits = re.sub(r"\D", "", offset)
    within_a_day = not digits or (int(digits[:2]) < 24 and int(digits[2:] or 0) < 60)
    return clock[0] < 24 and all(part < 60 for part in clock[1:]) and within_a_day


class LogEvent(BaseModel):
    model_config = ConfigDict(extra="allow")

    request_id: str
    service: str
    env: str
    timestamp: str
    action: str
    level: Level
    message: str
    user_id: Optional[str] = None
    product_id: Optional[str] = None
    price: Optional[float] = Field(None, allow_inf_nan=False)
    quantity: Optional[int] = None
    error_code: Optional[str] = None
    stack: Optional[str] = None
    app_version: Optional[str] = None
    raw_data: Optional[dict[str, Any]] = None

    @field_validator("timestamp")
    @classmethod
    def timestamp_is_iso_8601(cls, value: str) -> str:
        if not is_iso_8601(value):
            raise PydanticCustomError("value_error", "timestamp must be ISO 8601 format")
        return value

    @field_validator("quantity", mode="wrap")
    @classmethod
    def quantity_fits(cls, value: Any, handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, float) and math.isfinite(value) and value == int(value) and int(value) not in I64:
            raise PydanticKnownError("int_parsing_size")
        number = handler(value)
        if number is not None and number not in I64:
            raise PydanticKnownError("int_parsing_size")
        return number


EVENT = TypeAdapter(LogEvent)


class OnlyTheContract(Exception):
    """The contract refuses the body, Python's json would not, or would crash."""


def refuse(_: str) -> None:
    raise OnlyTheContract


def finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OnlyTheContract
    return number


def whole(text: str) -> int:
    finite(text)
    return int(text)


def is_too_deep(text: str) -> bool:
    """Whether brackets outside of strings nest too deep, in JSON or in what is JSON up to its end."""
    level = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"?|[][{}]', text, re.DOTALL):
        level += 1 if mark in "[{" else -1 if mark in "]}" else 0
        if level > DEPTH_MAX:
            return True
    return False


def decode(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OnlyTheContract from None
    # What is broken is told first, where Python's json tells it, unless it is too deep by then.
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if is_too_deep(text[: error.pos]):
            raise OnlyTheContract from None
        raise
    # The last of a repeated member wins, but all are judged.
    value = json.loads(text, parse_constant=refuse, parse_float=finite, parse_int=whole)
    pairs = json.loads(text, object_pairs_hook=lambda pairs: [part for pair in pairs for part in pair])
    try:
        json.dumps(pairs, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise OnlyTheContract from None
    if is_too_deep(text):
        raise OnlyTheContract
    return value


app = FastAPI(redirect_slashes=False, openapi_url=None)


def refusal(errors: list[dict[str, Any]], only_the_contract: bool = False) -> JSONResponse:
    headers = {"X-Only-The-Contract": "yes"} if only_the_contract else {}
    return JSONResponse({"detail": errors}, status_code=422, headers=headers)


@app.post("/api/logs/ingest", status_code=202)
async def ingest(request: Request) -> JSONResponse:
    body = await request.body()
    if not body:
        return refusal([{"loc": ["body"], "msg": "Field required", "type": "missing"}])
    wrong = {"msg": "JSON decode error", "type": "json_invalid"}
    try:
        value = decode(body)
    except json.JSONDecodeError as error:
        return refusal([{"loc": ["body", error.pos], **wrong}])
    except (OnlyTheContract, RecursionError):
        return refusal([{"loc": ["body", 0], **wrong}], only_the_contract=True)
    try:
        event = EVENT.validate_python(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return refusal([{"loc": ["body", *one["loc"]], "msg": one["msg"], "type": one["type"]} for one in found])
    return JSONResponse(event.model_dump(mode="json", exclude_unset=True), status_code=202)


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
