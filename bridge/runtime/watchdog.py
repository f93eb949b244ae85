"""How long the event loop was held up: the longest stall since it was last asked."""

from __future__ import annotations

import asyncio
import time

INTERVAL_S = 0.02


class LoopWatch:
    """Measures how late a short sleep returns."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest_busy_s = 0.0
        """The longest stall that was our own work: processor time, not waiting for a processor others use."""
        self.latest_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before, busy_before = time.monotonic(), time.thread_time()
            await asyncio.sleep(INTERVAL_S)
            late = max(0.0, time.monotonic() - before - INTERVAL_S)
            self.longest_busy_s = max(self.longest_busy_s, min(late, time.thread_time() - busy_before))
            self.latest_s = late
            self.longest_s = max(self.longest_s, late)

    def reset(self) -> None:
        """Begin to measure anew, as after start."""
        self.longest_s = self.longest_busy_s = 0.0
