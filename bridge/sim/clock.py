"""The clock of a simulated vendor: set to any moment, running at any multiple of real time, or standing still."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock of `bridge.ports.Clock`'s shape that a test or a demonstration moves.

    Args:
        start: What it shows first, aware; the machine's own time if None.
        speed: Virtual seconds per real second; 0 stands still until `advance` or `set`.
    """

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        self._epoch = (start or datetime.now(UTC)).astimezone(UTC)
        self._speed = _checked(speed)
        self._elapsed = 0.0
        self._anchor = time.monotonic()
        self._moved = asyncio.Event()

    @property
    def speed(self) -> float:
        """Virtual seconds per real second."""
        return self._speed

    def now(self) -> datetime:
        """Virtual wall time: UTC, whole milliseconds."""
        moment = self._epoch + timedelta(seconds=self.monotonic())
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Virtual seconds since the clock was made; `set` to the past does not turn it back."""
        return self._elapsed + (time.monotonic() - self._anchor) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait for virtual seconds, however they pass."""
        deadline = self.monotonic() + seconds
        await asyncio.sleep(0)
        while (left := deadline - self.monotonic()) > 0:
            moved = self._moved
            try:
                async with asyncio.timeout(left / self._speed if self._speed else None):
                    await moved.wait()
            except TimeoutError:
                continue

    def advance(self, seconds: float) -> None:
        """Let time pass at once. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time does not pass backwards: {seconds} s; set() turns the wall clock back")
        self._move(self.monotonic() + seconds)

    def set(self, moment: datetime) -> None:
        """Show another time: to the future time passes, to the past only the wall clock is turned back."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone")
        ahead = (moment - self._epoch).total_seconds() - self.monotonic()
        if ahead >= 0:
            self._move(self.monotonic() + ahead)
        else:
            self._epoch += timedelta(seconds=ahead)

    def run_at(self, speed: float) -> None:
        """Run at `speed` from now on."""
        self._move(self.monotonic())
        self._speed = _checked(speed)

    def _move(self, elapsed: float) -> None:
        self._elapsed = elapsed
        self._anchor = time.monotonic()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _checked(speed: float) -> float:
    if not 0 <= speed <= 1e6:
        raise ValueError(f"a clock cannot run at {speed} times real time: expected 0 to 1000000")
    return speed
