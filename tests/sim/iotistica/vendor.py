"""The simulator with a client that is logged in, time that stands still, and what the vendor's own server answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Agent, Behaviour, Iotistica
from bridge.sim.iotistica.server import PASSWORD, USERNAME

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FOLDER = Path(__file__).parents[2] / "recorded" / "iotistica"


class Client:
    """Speaks the vendor's API."""

    def __init__(self, vendor: Iotistica, http: httpx.AsyncClient) -> None:
        self.vendor = vendor
        self.http = http
        self.token = ""
        self.refresh = ""

    @property
    def agent(self) -> Agent:
        return self.vendor.tenant.agents[0]

    async def log_in(self, **given: str) -> httpx.Response:
        name = "email" if self.vendor.behaviour.documented else "username"
        body = given or {name: USERNAME, "password": PASSWORD}
        answer = await self.http.post("/api/v1/auth/login", json=body)
        if answer.status_code == 200:
            told = answer.json()
            tokens = told.get("data", told)
            self.token, self.refresh = tokens["accessToken"], tokens.get("refreshToken", "")
        return answer

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await self.http.request(method, path, json=body, headers=sent)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.call("GET", "/api/v1" + path, **headers)


@asynccontextmanager
async def iotistica(
    agents: Iterable[Agent] | None = None, *, logged_in: bool = True, role: str = "admin", **switches: str
) -> AsyncIterator[Client]:
    """The simulator at NOON."""
    clock = VirtualClock(NOON, speed=0)
    vendor = Iotistica(agents, role=role, behaviour=Behaviour(**switches), clock=clock, device_key="k" * 64)
    async with vendor, httpx.AsyncClient(base_url=vendor.url, timeout=30, verify=False) as http:
        client = Client(vendor, http)
        if logged_in:
            assert (await client.log_in()).status_code == 200
        yield client


def recording(name: str) -> dict[str, Any]:
    """One answer of the vendor's own server."""
    content: dict[str, Any] = json.loads((FOLDER / "rest" / f"{name}.json").read_text())
    return content


def shape(value: Any) -> Any:
    """Keys and JSON types, of a list its first member; null stands for itself."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__
