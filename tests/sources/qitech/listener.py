"""The house as a source sees it in tests: what was published, a hurried clock, and a source that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.sources.qitech.source import QitechSource
from bridge.transport.clock import SystemClock

Said = Observation | Condition | Inventory | Event | Reading
T = TypeVar("T", Observation, Condition, Inventory, Event, Reading)


class HurriedClock(SystemClock):
    """Wall time as it is; intervals pass ten times as fast, so that a watchdog of 2 s bites after 200 ms."""

    def __init__(self, speed: float = 10.0) -> None:
        self.speed = speed

    def monotonic(self) -> float:
        return super().monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    def now(self) -> datetime:
        return super().now()


class Listener:
    """Keeps what was published, and waits for more."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._more = asyncio.Event()

    def __call__(self, said: Said) -> None:
        self.said.append(said)
        self._more.set()

    def all(self, kind: type[T], **fields: Any) -> list[T]:
        """Everything of a kind with these fields."""
        return [
            said
            for said in self.said
            if isinstance(said, kind) and all(getattr(said, name) == value for name, value in fields.items())
        ]

    async def until(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until what was published satisfies a condition."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def next(self, kind: type[T], timeout: float = 30.0, **fields: Any) -> T:
        """The first of a kind with these fields that is published from now on."""
        before = len(self.all(kind, **fields))
        await self.until(lambda: len(self.all(kind, **fields)) > before, timeout)
        return self.all(kind, **fields)[before]

    async def values_of(self, machine: str) -> None:
        """Wait until both channels of a machine have been seen."""
        for channel in ("state", "live_values"):
            if not self.all(Observation, machine=machine, channel=channel):
                await self.next(Observation, machine=machine, channel=channel)


async def until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait for something that tells nobody when it becomes true."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - the condition is plain state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(source: QitechSource, listener: Listener) -> AsyncIterator[asyncio.Task[None]]:
    """The source at work; cancelled at the end, if it is not over by then."""
    task = asyncio.create_task(source.run(listener))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        assert [one for one in asyncio.all_tasks() if one.get_name().startswith("qitech ")] == []


async def outcome(task: asyncio.Task[None], timeout: float = 30.0) -> BaseException | None:
    """How a run ended by itself."""
    await asyncio.wait({task}, timeout=timeout)
    assert task.done(), "the source still runs"
    return task.exception()


def keys(inventories: Sequence[Inventory]) -> list[str]:
    """Keys of what appeared, in order."""
    return [machine.key for inventory in inventories for machine in inventory.appeared]
