"""How the vendor counts requests: so many in 60 s, in windows that stand still or that slide."""

from __future__ import annotations

import math
from collections import deque

WINDOW_S = 60.0


class Limit:
    """The count of one account, or of one path of it. A request that is refused is not counted."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._taken: deque[float] = deque(maxlen=per_minute)
        """When requests were let through, on a clock that never jumps."""

    def take(self, now: float, window: str) -> float | None:
        """Count a request; or, where there were too many, give the seconds until there is room."""
        if window == "fixed":
            start = math.floor(now / WINDOW_S) * WINDOW_S
            within = [moment for moment in self._taken if moment >= start]
        else:
            within = [moment for moment in self._taken if moment > now - WINDOW_S]
        if len(within) < self._per_minute:
            self._taken.append(now)
            return None
        return (start if window == "fixed" else within[0]) + WINDOW_S - now
