"""The one clock: wall time for stamps, monotonic time for intervals (design.md 2.5, invariant 12)."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Now: aware, UTC, whole milliseconds, so that a face counting 100 ns agrees with one counting milliseconds."""
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that moves only when told: an idle hour takes no time.

    Tasks that sleep on it wake in the order of their deadlines while `advance` runs.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Virtual wall time in whole milliseconds."""
        return self._start + timedelta(milliseconds=int(self._elapsed * 1000))

    def monotonic(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved past the deadline."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move time on, waking every sleeper whose deadline comes, and let what they started run."""
        target = self._elapsed + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, wake = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, deadline)
            if not wake.done():
                wake.set_result(None)
            await self._settle()
        self._elapsed = target

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):  # enough turns of the loop for a woken task to hand on to those that wait for it
            await asyncio.sleep(0)
