"""Inbox: events between the task that drains a socket and the task that publishes them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final

from bridge.sources.qitech.catalogue import is_kept

if TYPE_CHECKING:
    from bridge.errors import SourceError
    from bridge.sources.qitech.payloads import Envelope

LIMIT: Final = 256
"""Events kept; eight seconds of a machine that sends its state at 30 Hz."""


class Inbox:
    """Bounded, in order. The newest event of a name replaces the one that waits; states and notices all stay.

    A full inbox makes `put` wait: TCP then holds the panel back, which is better than a lost state. It is emptied by a
    task that does no I/O, so it fills only while this process is stopped.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._events: dict[str | int, Envelope] = {}
        self._limit = limit
        self._number = itertools.count()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._end: SourceError | None = None
        self.merged_total = 0
        """Events that a newer one of their name replaced before they were read."""

    def __len__(self) -> int:
        return len(self._events)

    async def put(self, event: Envelope) -> None:
        """Lay an event in; waits while the inbox is full."""
        key = next(self._number) if is_kept(event.name) else event.name
        if self._events.pop(key, None) is not None:
            self.merged_total += 1
        while len(self._events) >= self._limit:
            self._emptied.clear()
            await self._emptied.wait()
        self._events[key] = event
        self._filled.set()

    def end(self, error: SourceError) -> None:
        """No more will come, and why."""
        self._end = self._end or error
        self._filled.set()

    async def take(self) -> list[Envelope]:
        """Everything that waits, oldest first; at least one. Raises what `end` was given once all is read."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        events = list(self._events.values())
        self._events.clear()
        self._emptied.set()
        return events
