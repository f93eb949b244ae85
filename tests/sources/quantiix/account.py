"""A Quantiix source at a simulated account, on one virtual clock that runs fast."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from bridge.model.calendar import Calendar
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.sim.clock import VirtualClock
from bridge.sim.quantiix import Behaviour, Quantiix, default_machines
from bridge.sim.quantiix.server import EMAIL, PASSWORD
from bridge.sources.quantiix.config import QuantiixConfig
from bridge.sources.quantiix.source import QuantiixSource

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
SPEED = 600.0


class Heap:
    """A memory that forgets nothing, for tests."""

    def __init__(self) -> None:
        self.document: Mapping[str, Any] = {}

    async def recall(self) -> Mapping[str, Any]:
        return self.document

    async def keep(self, document: Mapping[str, Any]) -> None:
        self.document = orjson.loads(orjson.dumps(document))


class Heard:
    """Everything a source published."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.payloads: dict[tuple[str, str], Any] = {}
        self.readings: dict[str, Any] = {}

    def __call__(self, item: Observation | Condition | Inventory | Event | Reading) -> None:
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


class AtAccount:
    """The simulator, the source's surroundings, and runs of it."""

    def __init__(self, vendor: Quantiix, clock: VirtualClock) -> None:
        self.vendor = vendor
        self.clock = clock
        self.memory = Heap()
        self.heard = Heard()

    def source(self, house: Calendar | None = None, **config: Any) -> QuantiixSource:
        account = {"type": "quantiix", "url": self.vendor.url, "email": EMAIL, "password": PASSWORD, **config}
        return QuantiixSource("q", QuantiixConfig.model_validate(account), self.clock, self.memory, house)

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

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - any condition of what was heard
                await asyncio.sleep(0.005)

    async def pass_by(self, seconds: float) -> None:
        """Let virtual time pass at the clock's own speed."""
        end = self.clock.monotonic() + seconds
        await self.until(lambda: self.clock.monotonic() >= end)


@contextlib.asynccontextmanager
async def at_account(machines: int = 2, *, speed: float = SPEED, **switches: str) -> AsyncIterator[AtAccount]:
    clock = VirtualClock(START, speed)
    async with Quantiix(default_machines(machines), clock=clock, behaviour=Behaviour(**switches)) as vendor:
        yield AtAccount(vendor, clock)
