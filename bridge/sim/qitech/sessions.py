"""Socket.IO as the panel serves it: /main, and one namespace per machine.

Engine.IO times (ping, CONNECT deadline) are those of the connection, not of the plant: they follow the event loop.
Recorded behaviour kept: the first ping comes at once; one sid for all namespaces of a connection; whatever is no
proper packet, or an EVENT to a namespace that was not joined, ends the connection without a close frame.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from dataclasses import dataclass

from bridge.sim.qitech import packets
from bridge.sim.qitech.backend import Backend
from bridge.sim.qitech.catalogue import Identity
from bridge.sim.qitech.pipes import Pipe

_MACHINE = re.compile(r"/machine/([^/]+)/([^/]+)/([^/]+)")
_NUMBER = re.compile(r"\+?[0-9]+")


@dataclass(slots=True)
class EngineTimes:
    """Engine.IO settings of the panel, in seconds; tests may shorten them."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    connect_timeout_s: float = 45.0

    def greeting(self, sid: str, upgrades: list[str]) -> str:
        """The open packet."""
        return packets.open_packet(sid, upgrades, self.ping_interval_s, self.ping_timeout_s)


def u16(text: str) -> int | None:
    """The number Rust's u16 parser reads: leading zeros and a plus are fine."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= 65535 else None


def machine_of(namespace: str) -> Identity | None:
    """The machine a namespace means, or None if its numbers are none."""
    match = _MACHINE.fullmatch(namespace)
    numbers = [u16(part) for part in match.groups()] if match else []
    if len(numbers) != 3 or None in numbers:
        return None
    vendor, machine, serial = (number or 0 for number in numbers)
    return Identity(machine, serial, vendor)


def new_sid() -> str:
    """16 URL-safe characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(12)).decode()


class Session:
    """One Engine.IO connection and the namespaces it has joined."""

    def __init__(self, backend: Backend, times: EngineTimes) -> None:
        self.sid = new_sid()
        self.namespaces: list[str] = []
        self.pipe: Pipe | None = None
        self._backend = backend
        self._times = times
        self._timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None

    def open(self, pipe: Pipe) -> None:
        """Begin to ping, at once, and to wait for a CONNECT."""
        self.pipe = pipe
        self._connect_timer = asyncio.get_running_loop().call_later(self._times.connect_timeout_s, self.abort)
        self._ping()

    def end(self) -> None:
        """The client is gone: it leaves every namespace it was in."""
        for timer in (self._timer, self._connect_timer):
            if timer is not None:
                timer.cancel()
        self.pipe = None
        for namespace in dict.fromkeys(self.namespaces):
            self._leave(namespace)

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self.pipe is not None:
            self.pipe.abort()

    def pending(self) -> int:
        """Bytes the client has not taken yet."""
        return self.pipe.pending() if self.pipe is not None else 0

    def write(self, frame: bytes) -> None:
        """Send one WebSocket frame."""
        if self.pipe is not None:
            self.pipe.write(frame)

    def text(self, content: str) -> None:
        """An Engine.IO packet: pong is what we wait for; "4..." is the JSON parser's, which is not spoken here."""
        if content == "3":
            self._pong()
        else:
            self.abort()

    def binary(self, content: bytes) -> None:
        """A Socket.IO packet."""
        try:
            kind, namespace, _ = packets.read(content)
        except packets.BadPacket:
            self.abort()
            return
        if kind == packets.CONNECT:
            self._connect(namespace)
        elif namespace not in self.namespaces:
            self.abort()
        elif kind == packets.DISCONNECT:
            self._leave(namespace)

    def _connect(self, namespace: str) -> None:
        if namespace != "/main" and _MACHINE.fullmatch(namespace) is None:
            self._send(packets.CONNECT_ERROR, namespace, {"message": "Invalid namespace"})
            return
        if self._connect_timer is not None:
            self._connect_timer.cancel()
        self._send(packets.CONNECT, namespace, {"sid": self.sid})
        self.namespaces.append(namespace)
        self._backend.emitter.join(namespace, self)
        if namespace == "/main":
            for frame in self._backend.replay():
                self.write(frame)
            return
        identity = machine_of(namespace)
        if identity is not None:
            self._backend.subscribe(namespace, identity)

    def _leave(self, namespace: str) -> None:
        self.namespaces = [other for other in self.namespaces if other != namespace]
        self._backend.emitter.leave(namespace, self)
        identity = machine_of(namespace)
        if identity is not None:
            self._backend.unsubscribe(identity)

    def _send(self, kind: int, namespace: str, data: object) -> None:
        self.write(packets.binary_frame(packets.packet(kind, namespace, data)))

    def _ping(self) -> None:
        self.write(packets.text_frame("2"))
        self._timer = asyncio.get_running_loop().call_later(self._times.ping_timeout_s, self.abort)

    def _pong(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._times.ping_interval_s, self._ping)
