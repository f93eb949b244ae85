"""The way from the feed into the address space, and the wait of those who must not answer before it.

    table -> feed -> [rests PACE_S, or until somebody waits] -> nodes, values -> who waited is told

A confirmed write is answered with Good by the desk, and its value reaches the address space by the feed: a client that
reads straight after Good must find it there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.northbound.opcua.nodes import Nodes
    from bridge.northbound.opcua.stack.values import TagValues
    from bridge.ports import Clock, Feed

PACE_S = 0.02
"""The feed is read at most this often while nobody waits; in between it merges."""


class Pump:
    """Takes one batch after the other, in a task of its own: a client that vanishes must not lose half of one."""

    def __init__(self, feed: Feed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._alarm: asyncio.Task[None] | None = None
        self._is_running = False
        self._is_taking = False

    async def run(self, built: Nodes, values: TagValues) -> None:
        """Until cancelled."""
        self._is_running = True
        try:
            while True:
                await self._rest()
                await self.take(built, values)
        finally:
            self._is_running = False
            self._tell()

    async def take(self, built: Nodes, values: TagValues) -> None:
        """The next batch, once there is one: first the change of the plant, then the values."""
        batch = await anext(self._feed)
        later, self._is_taking = len(self._waiting), True
        try:
            if batch.change is not None:
                await built.apply(batch.change)
            await values.write(batch.values)
        finally:
            self._is_taking = False
        self._tell(later if self._feed.has_news else None)

    def caught_up(self) -> asyncio.Future[None]:
        """Done when everything that is on the table now can be read; done already where nothing has come."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_running and (self._is_taking or self._feed.has_news):
            self._waiting.append(told)
            if self._alarm is not None:
                self._alarm.cancel()
        else:
            told.set_result(None)
        return told

    async def _rest(self) -> None:
        if self._waiting:
            return
        self._alarm = asyncio.create_task(self._clock.sleep(PACE_S), name="opcua: pace")
        try:
            await asyncio.wait({self._alarm})
        finally:
            self._alarm.cancel()

    def _tell(self, count: int | None = None) -> None:
        """The first ones that wait, or all."""
        told, self._waiting[:count] = self._waiting[:count], []
        for one in told:
            if not one.done():
                one.set_result(None)
