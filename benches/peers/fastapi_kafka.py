"""A service as shops have it: FastAPI and Pydantic judge an event, aiokafka sends it, and the answer waits for the
acknowledgement of all replicas. What scripts/bench measures the daemon against.

    uvicorn fastapi_kafka:app   with KAFKA_BROKERS and KAFKA_TOPIC
"""

import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any, Literal, Optional

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, field_validator

TOPIC = os.environ["KAFKA_TOPIC"]


class LogEvent(BaseModel):
    model_config = ConfigDict(extra="allow")

    request_id: str
    service: str
    env: str
    timestamp: str
    action: str
    level: Literal["debug", "info", "warn", "error", "critical"]
    message: str
    user_id: Optional[str] = None
    product_id: Optional[str] = None
    price: Optional[float] = None
    quantity: Optional[int] = None
    error_code: Optional[str] = None
    stack: Optional[str] = None
    app_version: Optional[str] = None
    raw_data: Optional[dict[str, Any]] = None

    @field_validator("timestamp")
    @classmethod
    def timestamp_is_iso_8601(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.producer = AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BROKERS"], acks="all")
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/api/logs/ingest", status_code=202)
async def ingest(event: LogEvent) -> dict[str, str]:
    value = event.model_dump_json(exclude_unset=True).encode()
    await app.state.producer.send_and_wait(TOPIC, value, key=event.request_id.encode())
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "status": "accepted",
        "request_id": event.request_id,
        "message": "Log ingested and queued for processing",
        "timestamp": now,
    }
