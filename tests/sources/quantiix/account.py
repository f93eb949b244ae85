"""A Quantiix source at a simulated account, on one virtual clock that stands still until `until` moves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import orjson

from bridge.model.calendar import Calendar
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.ports import Clock
from bridge.sim.clock import VirtualClock
from bridge.sim.quantiix import Behaviour, Quantiix, default_machines
from bridge.sim.quantiix.server import EMAIL, PASSWORD
from bridge.sources.quantiix.config import QuantiixConfig
from bridge.sources.quantiix.source import QuantiixSource

T = TypeVar("T")
START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
TURNS = 25
"""Turns of the event loop after which nothing moves any more, where no request is under way."""


class Crash(Exception):
    """The bridge's process is gone."""


class Heap:
    """A memory that forgets nothing, for tests. Where `crash` says so, the process is gone before it has kept."""

    def __init__(self) -> None:
        self.document: Mapping[str, Any] = {}
        self.crash: Callable[[object], bool] = lambda item: False

    async def recall(self) -> Mapping[str, Any]:
        return self.document

    async def keep(self, document: Mapping[str, Any]) -> None:
        if self.crash(document):
            raise Crash
        self.document = orjson.loads(orjson.dumps(document))


class Heard:
    """Everything a source published."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.payloads: dict[tuple[str, str], Any] = {}
        self.readings: dict[str, Any] = {}
        self.crash: Callable[[object], bool] = lambda item: False

    def __call__(self, item: Observation | Condition | Inventory | Event | Reading) -> None:
        if self.crash(item):
            raise Crash
        self.items.append(item)
        if isinstance(item, Observation):
            self.payloads[item.machine, item.channel] = item.payload
        if isinstance(item, Reading):
            self.readings[item.name] = item.value

    def events(self, kind: str, machine: str = "") -> list[Event]:
        """Events of a kind, by id: what comes again with the same id is the same event."""
        found = {
            item.id: item
            for item in self.items
            if isinstance(item, Event) and item.kind == kind and machine in ("", item.machine)
        }
        return list(found.values())

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]


class Wire(httpx.AsyncBaseTransport):
    """The network, and how many requests are on it."""

    def __init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport(verify=False)  # certificates are read for 80 ms, and there is no TLS
        self.in_flight = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.in_flight += 1
        try:
            answer = await self._real.handle_async_request(request)
            body = b"".join([chunk async for chunk in answer.aiter_raw()])
            await answer.aclose()
        finally:
            self.in_flight -= 1
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._real.aclose()


class AtAccount:
    """The simulator, the source's surroundings, and runs of it."""

    def __init__(self, vendor: Quantiix, clock: VirtualClock) -> None:
        self.vendor = vendor
        self.clock = clock
        self.clocks = [clock]
        """Those that time passes on."""
        self.memory = Heap()
        self.heard = Heard()
        self.wires: list[Wire] = []

    def source(self, house: Calendar | None = None, clock: Clock | None = None, **config: Any) -> QuantiixSource:
        account = {"type": "quantiix", "url": self.vendor.url, "email": EMAIL, "password": PASSWORD, **config}
        rules = QuantiixConfig.model_validate(account)
        self.wires.append(Wire())
        return QuantiixSource("q", rules, clock or self.clock, self.memory, house, transport=self.wires[-1])

    @contextlib.asynccontextmanager
    async def running(self, house: Calendar | None = None, **config: Any) -> AsyncIterator[QuantiixSource]:
        source = self.source(house, **config)
        task = asyncio.create_task(source.run(self.heard))
        try:
            yield source
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def quiet(self) -> None:
        """Until every request is answered and what follows from the answers is done."""
        turns = 0
        while turns < TURNS:
            busy = any(wire.in_flight for wire in self.wires)
            await asyncio.sleep(0.001 if busy else 0)
            turns = 0 if busy else turns + 1

    async def until(self, condition: Callable[[], object], step: float = 2.0) -> None:
        """Let virtual time pass in steps until something is so; never while a request is under way."""
        async with asyncio.timeout(60):
            await self.quiet()
            while not condition():
                for clock in self.clocks:
                    clock.advance(step)
                await self.quiet()

    async def passing(self, work: Awaitable[T]) -> T:
        """What something gives, while time passes as long as it takes."""
        future = asyncio.ensure_future(work)
        await self.until(future.done)
        return await future

    async def pass_by(self, seconds: float, step: float = 2.0) -> None:
        """Let so much virtual time pass."""
        end = self.clock.monotonic() + seconds
        await self.until(lambda: self.clock.monotonic() >= end, step)


@contextlib.asynccontextmanager
async def at_account(machines: int = 2, **switches: str) -> AsyncIterator[AtAccount]:
    clock = VirtualClock(START, 0)
    async with Quantiix(default_machines(machines), clock=clock, behaviour=Behaviour(**switches)) as vendor:
        yield AtAccount(vendor, clock)
