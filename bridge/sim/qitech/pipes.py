"""The two transports of Engine.IO under one face: a session writes WebSocket frames, a pipe carries them.

A polling session's frames are unpacked again: text as it is, binary as "b" and base64, joined by U+001E.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from typing import Protocol

from bridge.sim.qitech import packets

SEPARATOR = "\x1e"


class Pipe(Protocol):
    """A way to the client."""

    def write(self, frame: bytes) -> None:
        """Send one server-to-client WebSocket frame."""

    def pending(self) -> int:
        """Bytes the client has not taken yet."""

    def abort(self) -> None:
        """Drop the connection without a word."""


class SocketPipe:
    """A WebSocket, written to below aiohttp: one frame is packed once for all clients."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, frame: bytes) -> None:
        """Straight to the socket."""
        if not self._transport.is_closing():
            self._transport.write(frame)

    def pending(self) -> int:
        """What asyncio buffers; the kernel buffers more."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """No close frame, as recorded."""
        self._transport.abort()


class PollPipe:
    """What waits for the client's next GET."""

    def __init__(self, on_abort: Callable[[], None]) -> None:
        self.frames: deque[bytes] = deque()
        self.closed = False
        self._bytes = 0
        self._on_abort = on_abort
        self._filled = asyncio.Event()

    def write(self, frame: bytes) -> None:
        """Bounded by the emitter, which asks `pending` first."""
        self.frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()

    def pending(self) -> int:
        """Bytes queued."""
        return self._bytes

    def abort(self) -> None:
        """Wake the GET that waits, and end the session."""
        if not self.closed:
            self.closed = True
            self._filled.set()
            self._on_abort()

    async def take(self) -> str:
        """The body of a GET: everything queued, after waiting for something."""
        await self._filled.wait()
        frames = self.drain()
        return SEPARATOR.join(map(_as_text, frames))

    def drain(self) -> list[bytes]:
        """Everything queued, as frames."""
        frames = list(self.frames)
        self.frames.clear()
        self._bytes = 0
        if not self.closed:
            self._filled.clear()
        return frames


def _as_text(frame: bytes) -> str:
    is_binary, content = packets.unframe(frame)
    return "b" + base64.b64encode(content).decode() if is_binary else content.decode()
