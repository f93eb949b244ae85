"""The queue in front of one machine: one message a control cycle, in order.

2.x: no limit. 3.x: two slots, and whoever comes third waits, without a time limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

CYCLE_S = 0.001


class Died(Exception):
    """The control process is gone; there will be no answer."""


class Mailbox:
    """Messages for one machine. `handle` is called with one per cycle."""

    def __init__(self, capacity: int, handle: Callable[[Any], None], drains: bool = False) -> None:
        self.stalled = False
        self._capacity = capacity
        self._handle = handle
        self._drains = drains
        self._queue: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    async def put(self, message: Any) -> None:
        """Queue a message, waiting for a slot. Raises Died."""
        while len(self._queue) >= self._capacity and not self._closed:
            slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(slot)
            await slot
        if self._closed:
            raise Died
        self._queue.append(message)
        self._schedule()

    def stall(self, stalled: bool) -> None:
        """Fault: take nothing out of the queue until told otherwise."""
        self.stalled = stalled
        self._schedule()

    def close(self) -> list[Any]:
        """The process has died: wake everybody who waits. Gives the messages that are lost."""
        self._closed = True
        lost = list(self._queue)
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._wake(len(self._waiting))
        return lost

    def _schedule(self) -> None:
        if self._timer is None and self._queue and not self.stalled and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(CYCLE_S, self._cycle)

    def _cycle(self) -> None:
        self._timer = None
        if self.stalled:
            return
        for _ in range(len(self._queue) if self._drains else 1):
            message = self._queue.popleft()
            self._wake(1)
            self._handle(message)
            if self._closed:
                return
        self._schedule()

    def _wake(self, count: int) -> None:
        while count and self._waiting:
            slot = self._waiting.popleft()
            if not slot.done():
                slot.set_result(None)
                count -= 1
