"""The simulator with a client that is logged in, and time that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from bridge.sim.clock import VirtualClock
from bridge.sim.quantiix import Behaviour, Machine, Quantiix
from bridge.sim.quantiix.server import EMAIL, PASSWORD

NOON = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
KNOWN_MS = NOON_MS - 80_000
"""Up to when states are known at NOON: 11:59."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
M = "MACHINE_001"


class Client:
    """Speaks the vendor's four calls."""

    def __init__(self, vendor: Quantiix, http: httpx.AsyncClient) -> None:
        self.vendor = vendor
        self.http = http
        self.token = ""

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
        answer = await self.http.post("security/getAPIToken", json={"userEmail": email, "password": password})
        if answer.status_code == 200:
            self.token = answer.json()["token"]
        return answer

    async def get(self, call: str, token: str | None = None, **params: Any) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return await self.http.get(call, params=params, headers=bearer)

    async def state(self, machine: str = M) -> httpx.Response:
        return await self.get("machineState", machineId=machine)

    async def activity(self, start: int, end: int, machine: str = M) -> httpx.Response:
        return await self.get("machineActivity", machineId=machine, startTime=start, endTime=end)

    async def records(self, start: int, end: int, machine: str = M) -> list[dict[str, Any]]:
        answer = await self.activity(start, end, machine)
        assert answer.status_code == 200, answer.status_code
        assert answer.json()["machineId"] == machine
        found = answer.json()["activity"]
        assert isinstance(found, list)
        return found


@asynccontextmanager
async def quantiix(
    machines: Iterable[Machine] | None = None, *, logged_in: bool = True, **switches: str
) -> AsyncIterator[Client]:
    """The simulator at NOON."""
    clock = VirtualClock(NOON, speed=0)
    vendor = Quantiix(machines, behaviour=Behaviour(**switches), clock=clock, control_port=0)
    async with vendor, httpx.AsyncClient(base_url=vendor.url + "/", timeout=30, verify=False) as http:
        client = Client(vendor, http)
        if logged_in:
            assert (await client.log_in()).status_code == 200
        yield client
