"""The panel's one Socket.IO queue and its one consumer, shared by all machines and all clients.

    machine -> queue (3.x: 64, what comes when it is full is lost; 2.x: no limit) -> consumer -> the whole room

A client that does not read fills its own buffer of 1024 packets; the consumer then waits for that client, and with it
everybody else waits, until the client reads or its ping times out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

SOCKET_PACKETS = 1024
RETRY_S = 0.005


class Member(Protocol):
    """Who receives: a Socket.IO session."""

    def pending(self) -> int:
        """Bytes that wait to be taken by the client."""

    def write(self, frame: bytes) -> None:
        """Send one WebSocket frame."""


class Emitter:
    """Rooms by namespace, and the queue in front of them."""

    def __init__(self, capacity: int) -> None:
        self.rooms: dict[str, list[Member]] = {}
        """A client that joined twice is in its room twice, and gets everything twice, as recorded."""
        self.dropped = 0
        self.delivered = 0
        self.closed = False
        self._capacity = capacity
        self._queue: deque[tuple[str, bytes]] = deque()
        self._retry: asyncio.TimerHandle | None = None

    def join(self, namespace: str, member: Member) -> None:
        """From now on the member gets what is sent to the namespace."""
        self.rooms.setdefault(namespace, []).append(member)

    def leave(self, namespace: str, member: Member) -> None:
        """The member gets nothing more from the namespace."""
        room = [other for other in self.rooms.get(namespace, ()) if other is not member]
        if room:
            self.rooms[namespace] = room
        else:
            self.rooms.pop(namespace, None)

    def emit(self, namespace: str, frame: bytes) -> None:
        """Queue one WebSocket frame for a room. A closed queue swallows it."""
        if self.closed:
            return
        if self._retry is None and not self._queue:
            if self._deliver(namespace, frame):
                return
        elif len(self._queue) >= self._capacity:
            self.dropped += 1
            return
        self._queue.append((namespace, frame))
        self._wait()

    def close(self) -> None:
        """End of the process: nothing more is sent."""
        self.closed = True
        self._queue.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _deliver(self, namespace: str, frame: bytes) -> bool:
        room = self.rooms.get(namespace)
        if room is None:
            return True
        limit = SOCKET_PACKETS * len(frame)
        for member in room:
            if member.pending() > limit:
                return False
        for member in room:
            member.write(frame)
        self.delivered += len(room)
        return True

    def _wait(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._pump)

    def _pump(self) -> None:
        self._retry = None
        while self._queue:
            if not self._deliver(*self._queue[0]):
                self._wait()
                return
            self._queue.popleft()
