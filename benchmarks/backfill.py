"""How fast what MQTT missed is read back from Iotistica's cloud: by the processor, and within the request budget.

One agent, one metric of two devices, a page of 10 000 rows an answer, the answers made before. The clock is virtual,
so waiting for a turn costs nothing, and the figure is the client alone: JSON, rows, repetitions, telling.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from bridge.config.vendor_profile import load_profile
from bridge.sources.iotistica.rest.backfill import LONGEST, Backfill, Lapse
from bridge.sources.iotistica.rest.client import RestClient
from bridge.sources.iotistica.rest.config import RestRules
from bridge.sources.iotistica.rest.rows import iso
from bridge.transport.clock import VirtualClock
from bridge.transport.http import http_client

AGENT = "d9069bba-f80e-424a-9c4c-583ea4deb9a4"
START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
PAGES = 20


@dataclass
class BackfillRate:
    """What it took."""

    rows: int
    requests: int
    row_us: float
    """Processor microseconds a row."""
    rows_per_minute: float
    """Within half of the vendor's limit, by virtual time."""


def run() -> BackfillRate:
    return asyncio.run(_fill())


async def _fill() -> BackfillRate:
    clock = VirtualClock(START)
    rules = RestRules.model_validate({"url": "http://127.0.0.1", "username": "u", "password": "p"})
    client = RestClient(rules, load_profile("actual"), clock)
    end = round(START.timestamp() * 1000)
    told = 0

    def publish(item: Any) -> None:
        nonlocal told
        told += len(item.payload)

    pages = _pages(end)
    transport = httpx.MockTransport(lambda request: _answer(request, pages))
    filling = Backfill("i", client, clock, lambda agent: True)
    async with http_client("http://127.0.0.1/api/v1/", transport=transport) as http:
        with client.wire.connected(http):
            begin = end - PAGES * LONGEST * 1000
            filling.add([Lapse(AGENT, f"dev-{device}", "m1", begin, end + 1) for device in range(2)], 0)
            task = asyncio.create_task(filling.run(publish))
            began, begun = time.process_time(), clock.monotonic()
            while len(filling):
                await clock.advance(0.1)
            spent, took = time.process_time() - began, clock.monotonic() - begun
            task.cancel()
            await asyncio.wait({task})
    return BackfillRate(told, client.wire.requests, spent / told * 1e6, told / took * 60)


def _pages(end: int) -> dict[str, bytes]:
    """Answers by the end they were asked for, newest first: each begins with the last millisecond of the one before."""
    pages = {}
    at = end + 1
    for _ in range(PAGES):
        rows = [_row(at - 1 - number // 2 * 500, number % 2) for number in range(LONGEST)]
        pages[iso(at)] = orjson.dumps({"agent_uuid": AGENT, "count": len(rows), "readings": rows})
        at = at - 1 - (LONGEST - 1) // 2 * 500
    return pages


def _row(at: int, device: int) -> dict[str, Any]:
    extra = {
        "device_uuid": f"dev-{device}",
        "device_name": f"press {device}",
        "endpoint_uuid": "ep",
        "ingested_at": iso(at),
    }
    return {
        "time": iso(at), "agent_uuid": AGENT, "metric_name": "m1", "value": at % 1000 / 7, "quality": "good",
        "unit": "bar", "protocol": "modbus", "extra": extra, "anomaly_score": None, "anomaly_threshold": None,
        "baseline_samples": None, "detection_methods": None,
    }  # fmt: skip


def _answer(request: httpx.Request, pages: dict[str, bytes]) -> httpx.Response:
    headers = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": "299", "x-ratelimit-reset": "60"}
    if request.url.path.endswith("auth/login"):
        return httpx.Response(200, json={"data": {"accessToken": "t"}}, headers=headers)
    page = pages.get(request.url.params["end"], b'{"readings": []}')
    return httpx.Response(200, content=page, headers=headers)
