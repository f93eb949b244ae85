"""How a source waits: back-off after a failure, and an even pace of polling."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.ports import Clock


class Backoff:
    """Full-jitter back-off of one part that failed: the n-th wait is uniform from `first` to first·2ⁿ, at most `cap`.

    Source: "Exponential Backoff And Jitter" (AWS architecture blog, 2015), with a floor so that nothing is hammered.
    """

    def __init__(
        self, first: float = 1.0, cap: float = 30.0, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first = first
        self._cap = cap
        self._uniform = uniform
        self.attempt = 0

    def reset(self) -> None:
        """The part works again."""
        self.attempt = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        self.attempt += 1
        return self._uniform(self._first, min(self._cap, self._first * 2.0 ** min(self.attempt, 16)))


class Pace:
    """An even period between polls, stretched when a poll takes longer; never a burst to catch up."""

    def __init__(self, period: float, clock: Clock) -> None:
        self._period = period
        self._clock = clock
        self._due = clock.monotonic()
        self._last: float | None = None
        self.effective = period
        """Seconds between polls as they really are: the period, or longer where a poll took longer."""

    def began(self) -> None:
        """A poll begins now."""
        now = self._clock.monotonic()
        if self._last is not None:
            self.effective = max(self._period, now - self._last)
        self._last = now
        on_time = self._due + self._period
        self._due = on_time if on_time > now else now + self._period

    @property
    def left(self) -> float:
        """Seconds until the next poll is due."""
        return max(0.0, self._due - self._clock.monotonic())

    async def wait(self) -> None:
        """Wait until the next poll is due."""
        await self._clock.sleep(self.left)
