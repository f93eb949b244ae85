"""Rounds: everything on a list is read once a period, fairly, within a budget.

Everything is read as soon as the budget allows when the rounds begin. From then on each keeps its own place in the
period, derived from its name, so that neither a plant nor several bridges ask in bunches. Where the budget does not
suffice, nothing is made up for and nobody loses his place: what comes more than a period late makes all the rounds
late by the same time (they have a clock of their own, which then stands still). What takes longer than a period to read
misses its own next turns and delays nobody. So the numbers of reads of any two, equally quick, differ by one at most.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bridge.sources._crew import Crew
from bridge.sources._waiting import within

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.sources._budget import Budget, Priority, Turn

_INSTANT = 1e-6
"""Seconds that are none: less than this is rounding."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One read that may go now. `interval` are the seconds since the last one, at least the period."""

    key: str
    turn: Turn
    interval: float


@dataclass(slots=True)
class _Place:
    due: float
    """On the rounds' own clock."""
    visited: float | None = None
    interval: float = 0.0
    is_new: bool = True
    bell: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self.bell is not None and not self.bell.done():
            self.bell.set_result(None)


class Rounds:
    """Reads of one kind. `period` in seconds may be changed while they run; it counts from the next read of each.

    `name` is that of the tasks.
    """

    def __init__(self, name: str, period: float, budget: Budget, priority: Priority, clock: Clock) -> None:
        self.period = period
        self._name = name
        self._budget = budget
        self._priority = priority
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._changed = asyncio.Event()
        self._lag = 0.0
        """Seconds by which the rounds' own clock is behind the real one."""

    def visit_all(self, keys: Iterable[str]) -> None:
        """Make it so that exactly these are read; what is new is read at once, the others keep their places."""
        now = self._now()
        self._places = {key: self._places.get(key) or _Place(now) for key in keys}
        self._changed.set()

    def hasten(self, key: str) -> None:
        """Read this one as soon as the budget allows. Nothing happens where it is not on the list."""
        place = self._places.get(key)
        if place is not None:
            place.due = min(place.due, self._now())
            place.ring()

    @property
    def interval(self) -> float:
        """Seconds between two reads of the same as they really are: the longest there is now."""
        return max((place.interval for place in self._places.values()), default=self.period)

    async def run(self, visit: Callable[[Visit], Awaitable[None]]) -> None:
        """Read until cancelled. May be called again: then all is read at once.

        What `visit` raises ends all, in an ExceptionGroup.
        """
        now = self._now()
        for place in self._places.values():
            place.due, place.visited, place.is_new = now, None, True
        async with asyncio.TaskGroup() as group:
            crew = Crew(group, self._name)
            while True:
                self._changed.clear()
                crew.muster({key: partial(self._keep, key, place, visit) for key, place in self._places.items()})
                await self._changed.wait()

    async def _keep(self, key: str, place: _Place, visit: Callable[[Visit], Awaitable[None]]) -> None:
        while True:
            await self._rest(place)
            due = place.due
            turn = await self._budget.turn(self._priority, due + self.period + self._lag)
            self._note(place, due, turn.at)
            place.due = math.inf  # may be hastened while it is read
            await visit(Visit(key, turn, place.interval))
            place.due = min(place.due, self._next(key, place, due, self._clock.monotonic() - turn.at))

    def _now(self) -> float:
        return self._clock.monotonic() - self._lag

    def _note(self, place: _Place, due: float, at: float) -> None:
        self._lag = max(self._lag, at - due - self.period)
        place.interval = self.period if place.visited is None else max(self.period, at - place.visited)
        place.visited = at

    def _next(self, key: str, place: _Place, due: float, took: float) -> float:
        """When it is due after `due`: a period later; at first, at its place in the period, half a period off at least.

        All that begin together have that place within the same period, which keeps their numbers of reads together.
        """
        if not place.is_new:
            return due + max(1, math.ceil(took / self.period)) * self.period
        place.is_new = False
        offset = zlib.crc32(key.encode()) / 2**32 * self.period
        earliest = due + max(took, self.period / 2)
        return offset + math.ceil((earliest - offset) / self.period) * self.period

    async def _rest(self, place: _Place) -> None:
        """Until it is due, or somebody hastens it."""
        while (left := place.due - self._now()) > _INSTANT:
            place.bell = asyncio.get_running_loop().create_future()
            await within(self._clock, left, place.bell)
