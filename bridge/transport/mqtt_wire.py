"""The socket under paho: what we publish goes past paho in joined writes, its acknowledgements never reach it.

    Link -> put ----.
    paho -> send ---+-> pieces -> one send for all of a turn of the loop -> broker

    broker -> one recv -> Splitter -+-> PUBACKs of it, at once -> Link
                                    '-> anything else -> recv <- paho

Why: paho sends each message by itself, and wakes up for each acknowledgement (benchmarks/README.md).
A wire is made in aiomqtt's thread, which connects; from `begin` on it belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

from bridge.transport.mqtt_packet import Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.transport.mqtt_packet import Taken

PIECE = 16_384
"""Bytes of one read: 4 000 acknowledgements (1 ms), or 250 messages for paho (5 ms)."""
READS_AT_END = 64
UNSENT = 131_072
"""Bytes the kernel may hold that are not on their way (tcp(7), TCP_NOTSENT_LOWAT): old values wait here, where their
owner sees it, rather than there."""


class Wire:
    """A connected socket with a queue. Towards paho it is a socket; `put`, `begin` and `end` are the link's."""

    def __init__(self, connected: socket.socket) -> None:
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self._socket = connected
        self._pieces: list[bytes] = []
        self._rest = memoryview(b"")
        self._splitter = Splitter()
        self._unread = bytearray()
        self._is_due = False
        self._is_blocked = False
        self._is_over = False
        self._resting: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._take: Callable[[Taken], float]
        self._wrote: Callable[[], None]
        self._broke: Callable[[Exception], None]
        self.queued = 0
        """Bytes that wait to be written."""
        self.written = 0
        """Bytes the kernel has taken."""

    # --- the link's side

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[Taken], float],
        wrote: Callable[[], None],
        broke: Callable[[Exception], None],
    ) -> None:
        """Read and write on this loop from now on.

        Args:
            loop: the running one.
            take: gets what came, and says for how many seconds nothing needs to be read: what comes meanwhile is read
                at once. What is not PUBACK is there for paho's `recv`; the end of the connection is one as well.
            wrote: is called after writing.
            broke: gets what TLS, or the form of what came, made the end of the session.
        """
        self._loop, self._take, self._wrote, self._broke = loop, take, wrote, broke
        loop.add_reader(self._socket.fileno(), self._readable)
        if self._pieces:
            self._push()

    @property
    def is_over(self) -> bool:
        """The connection has ended."""
        return self._is_over

    @property
    def has_unread(self) -> bool:
        """There is something for paho."""
        return bool(self._unread) or self._is_over

    def discard(self) -> None:
        """Nobody wants what came."""
        self._unread.clear()

    def put(self, size: int, pieces: tuple[bytes, ...]) -> None:
        """Queue a packet of this size; it is written with all others of this turn of the loop."""
        self._pieces += pieces
        self.queued += size
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._write)

    def end(self) -> None:
        """Close the socket, unless it is closed. What is queued is lost."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if (number := self._socket.fileno()) >= 0:
            if hasattr(self, "_loop"):
                self._loop.remove_reader(number)
                self._loop.remove_writer(number)
            # Unread bytes would make the kernel reset the connection, and the broker miss our last words (RFC 1122,
            # 4.2.2.13).
            with contextlib.suppress(OSError, ValueError):
                self._socket.setblocking(False)
                for _ in range(READS_AT_END):
                    if not self._socket.recv(PIECE):
                        break
        self._socket.close()
        self._is_over = True
        self._forget()

    # --- paho's side

    def send(self, packet: bytes) -> int:
        """Takes all of it: paho only sends what is small and rare."""
        self.put(len(packet), (bytes(packet),))
        return len(packet)

    def recv(self, size: int) -> bytes:
        """What came and is not ours; as a socket does."""
        if not self._unread:
            if self._is_over:
                return b""
            raise BlockingIOError
        part = bytes(self._unread[:size])
        del self._unread[:size]
        return part

    def fileno(self) -> int:
        """As a socket's."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        self._socket.setblocking(flag)

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._socket.settimeout(seconds)

    def setsockopt(self, *option: Any) -> None:
        """As a socket's."""
        self._socket.setsockopt(*option)

    def do_handshake(self) -> None:
        """Nothing: what needs one made it (bridge.transport.mqtt_tls)."""

    def close(self) -> None:
        """Nothing: paho has said its last word, which may still be queued; the link ends the wire."""

    # --- reading

    def _readable(self) -> None:
        try:
            while True:
                self._arrived(self._socket.recv(PIECE))
                if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                    break
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._arrived(b"")
        except (ssl.SSLError, ValueError) as error:
            self._broke(error)
        except OSError:
            self._arrived(b"")
        if self._pieces and not self._is_blocked and not self._is_over:
            self._push()

    def _arrived(self, data: bytes) -> None:
        """Some bytes, or none at the end."""
        if not data:
            self._is_over = True
            self._loop.remove_reader(self._socket.fileno())
        taken = self._splitter.feed(data)
        self._unread += taken.others
        rest_s = self._take(taken)
        if rest_s and not self._is_over and self._resting is None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._resting = self._loop.call_later(rest_s, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._loop.add_reader(self._socket.fileno(), self._readable)

    # --- writing

    def _write(self) -> None:
        self._is_due = False
        if not self._is_blocked and self._socket.fileno() >= 0:
            self._push()

    def _push(self) -> None:
        """Write until the socket takes no more."""
        try:
            while self._rest or self._pieces:
                if not self._rest:
                    self._rest = memoryview(b"".join(self._pieces))
                    self._pieces.clear()
                sent = self._socket.send(self._rest)
                self._rest = self._rest[sent:]
                self.queued -= sent
                self.written += sent
        except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if not self._is_blocked:
                self._is_blocked = True
                self._loop.add_writer(self._socket.fileno(), self._push)
        except OSError:
            self._forget()  # the reader learns why it ended, if anybody said it
            return
        else:
            if self._is_blocked:
                self._is_blocked = False
                self._loop.remove_writer(self._socket.fileno())
        self._wrote()

    def _forget(self) -> None:
        """Nothing can be written any more."""
        self._pieces.clear()
        self._rest = memoryview(b"")
        self.queued = 0
        if self._is_blocked and (number := self._socket.fileno()) >= 0:
            self._loop.remove_writer(number)
        self._is_blocked = False
