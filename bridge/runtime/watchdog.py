"""How long the event loop was held up: the longest stall since it was last asked."""

from __future__ import annotations

import asyncio
import time

INTERVAL_S = 0.02


class LoopWatch:
    """Measures how late a short sleep returns."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.latest_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(INTERVAL_S)
            late = max(0.0, time.monotonic() - before - INTERVAL_S)
            self.latest_s = late
            self.longest_s = max(self.longest_s, late)

    def reset(self) -> None:
        """Begin to measure anew, as after start."""
        self.longest_s = 0.0
