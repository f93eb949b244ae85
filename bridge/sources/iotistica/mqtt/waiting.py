"""Waiting: messages that came before their dictionary. Pure; bounded in number and in time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

PATIENCE: Final = 60.0
"""Seconds, as the vendor's own cloud waits (facts 1.11); an agent sends its dictionary every 30 s while it grows."""
MOST: Final = 1000
"""Messages of one source."""
MOST_BYTES: Final = 32 << 20
"""Bytes of them, as they came and as they are kept: inflated and decoded, one may be a hundred times as large."""


class Waiter(NamedTuple):
    """A message as it came, and when."""

    agent: str
    raw: bytes
    received: datetime
    since: float
    """Monotonic seconds."""
    tail: str
    """The topic below the agent."""


class Waiting:
    """Messages of each agent, in the order in which they came."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Waiter]] = {}
        self._count = 0
        self._bytes = 0
        self.lost = 0
        """Messages that were given up."""

    def __len__(self) -> int:
        return self._count

    def __contains__(self, agent: object) -> bool:
        return agent in self._queues

    def put(self, waiter: Waiter) -> list[Waiter]:
        """Keep a message; gives those that had to go for it, the oldest first."""
        self._queues.setdefault(waiter.agent, deque()).append(waiter)
        self._count += 1
        self._bytes += len(waiter.raw)
        gone = []
        while self._count > MOST or self._bytes > MOST_BYTES:
            gone.append(self.pop(min(self._queues.values(), key=lambda queue: queue[0].since)[0].agent))
        return gone

    def first(self, agent: str) -> Waiter | None:
        """An agent's oldest."""
        queue = self._queues.get(agent)
        return None if queue is None else queue[0]

    def pop(self, agent: str) -> Waiter:
        """Take that out."""
        queue = self._queues[agent]
        waiter = queue.popleft()
        if not queue:
            del self._queues[agent]
        self._count -= 1
        self._bytes -= len(waiter.raw)
        return waiter

    def expired(self, now: float) -> list[Waiter]:
        """Those that waited long enough."""
        gone = []
        for agent in list(self._queues):
            while (waiter := self.first(agent)) is not None and now - waiter.since >= PATIENCE:
                gone.append(self.pop(agent))
        return gone
