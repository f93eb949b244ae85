"""How the vendor counts requests: so many in a window of 60 s that begins with the first (@fastify/rate-limit).

A route of an inner scope counts in the outer one too; its headers are those of the inner (recorded). Refused requests
count as well, which is why hammering does not help.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_S = 60.0
MAX_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class Count:
    """What the headers say."""

    limit: int
    remaining: int
    reset_s: int
    exceeded: bool


class Scope:
    """One limit, counted for each caller apart."""

    def __init__(self, limit: int, message: str) -> None:
        self.limit = limit
        self.message = message
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, caller: str, now: float, requests: int = 1) -> Count:
        """Count requests of a caller at a moment of a clock that never jumps."""
        start, taken = self._windows.get(caller, (now, 0))
        if now - start >= WINDOW_S:
            start, taken = now, 0
        taken += requests
        if len(self._windows) >= MAX_CALLERS and caller not in self._windows:
            del self._windows[next(iter(self._windows))]
        self._windows[caller] = (start, taken)
        left = max(1, math.ceil(start + WINDOW_S - now))
        return Count(self.limit, max(0, self.limit - taken), left, taken > self.limit)


def duration(seconds: int) -> str:
    """As the vendor's answer words it (recorded: "1 minute")."""
    if seconds >= WINDOW_S:
        return "1 minute"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
