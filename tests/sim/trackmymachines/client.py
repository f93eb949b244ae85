"""A client of the simulator over HTTP, for these tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bridge.sim.trackmymachines import Behaviour, TrackMyMachines, VirtualClock

NOON = datetime(2025, 5, 27, 12, tzinfo=UTC)
DAY = {"from": "2025-05-27T00:00:00Z", "to": "2025-05-28T00:00:00Z"}
STEP = {
    "machine_display_name": "Machine 1",
    "start": "2025-05-27T10:00:00Z",
    "user_email": "user@example.com",
    "part_unique_identifier": "PART123",
    "recipe_version": "1",
    "step_number": "10",
}
"""The required fields and nothing else."""

FOLDER = Path(__file__).parents[2] / "recorded" / "trackmymachines"


def published(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


class Client:
    """The simulator and a key."""

    def __init__(self, simulator: TrackMyMachines, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.faults = simulator.faults
        self.http = http
        self.key = simulator.secret("rw")

    async def app(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        return await self._ask(self.simulator.app_url, path, method, options)

    async def com(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        return await self._ask(self.simulator.com_url, path, method, options)

    async def _ask(self, url: str, path: str, method: str, options: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self.http.request(method, f"{url}/api/v1/{path}", headers=headers, **options)

    async def events(self, query: str = "", **window: str) -> list[dict[str, Any]]:
        """The feed of the day, or of another window; `query` as it goes over the wire."""
        span = "&".join(f"{name}={moment}" for name, moment in {**DAY, **window}.items())
        answer = await self.app(f"events?{span}&{query}")
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()
        return rows

    async def labels(self, query: str = "", **window: str) -> list[str]:
        return sorted(row["label"] for row in await self.events(query, **window))

    async def create(self, **changed: Any) -> httpx.Response:
        """POST a step; None leaves a field out."""
        fields = {name: value for name, value in {**STEP, **changed}.items() if value is not None}
        return await self.com("step_events", "POST", json={"step_event": fields})

    async def finish(self, **fields: Any) -> httpx.Response:
        return await self.com("step_events/finish", "PATCH", json={"step_event": fields})

    def insert(self, kind: str, start: str, end: str | None, label: str, machine: str = "MACHINE_001") -> str:
        """An event of 27 May, from times of day."""
        return self.faults.insert(machine, kind, day(start), day(end) if end else None, label)


def day(time: str) -> str:
    return f"2025-05-27T{time}Z"


@asynccontextmanager
async def server(speed: float = 0, **options: Any) -> AsyncIterator[Client]:
    clock = VirtualClock(NOON, speed)
    behaviour = options.pop("behaviour", Behaviour(feed_delay_s=0))
    async with (
        TrackMyMachines(clock=clock, behaviour=behaviour, **options) as simulator,
        httpx.AsyncClient(timeout=30, verify=False) as http,
    ):
        yield Client(simulator, http)


def error(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()
