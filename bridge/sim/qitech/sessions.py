"""Socket.IO over WebSocket as the panel serves it: /main, and one namespace per machine.

Engine.IO times (ping, CONNECT deadline) are those of the connection, not of the plant: they follow the event loop.
Recorded behaviour kept: the first ping comes at once; one sid for all namespaces of a socket; whatever is no proper
packet, or an EVENT to a namespace that was not joined, ends the connection without a close frame.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from bridge.sim.qitech import packets
from bridge.sim.qitech.backend import Backend
from bridge.sim.qitech.catalogue import Identity

_MACHINE = re.compile(r"/machine/([^/]+)/([^/]+)/([^/]+)")
_NUMBER = re.compile(r"\+?[0-9]+")
MAX_SESSIONS = 1000


@dataclass(slots=True)
class EngineTimes:
    """Engine.IO settings of the panel, in seconds; tests may shorten them."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    connect_timeout_s: float = 45.0


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

    def __init__(self, backend: Backend, transport: asyncio.Transport, times: EngineTimes) -> None:
        self.sid = new_sid()
        self.namespaces: list[str] = []
        self._backend = backend
        self._transport = transport
        self._times = times
        self._timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Say open, then ping at once."""
        times = self._times
        greeting = packets.open_packet(self.sid, [], times.ping_interval_s, times.ping_timeout_s)
        self.write(packets.text_frame(greeting))
        self._connect_timer = asyncio.get_running_loop().call_later(times.connect_timeout_s, self.abort)
        self._ping()

    def end(self) -> None:
        """The client is gone: it leaves every namespace it was in."""
        for timer in (self._timer, self._connect_timer):
            if timer is not None:
                timer.cancel()
        for namespace in dict.fromkeys(self.namespaces):
            self._leave(namespace)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def pending(self) -> int:
        """Bytes the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def write(self, frame: bytes) -> None:
        """Send one WebSocket frame."""
        if not self._transport.is_closing():
            self._transport.write(frame)

    def text(self, content: str) -> None:
        """An Engine.IO packet: pong is what we wait for; anything but ping and pong is the JSON parser's."""
        if content == "3":
            self._pong()
        elif content == "2":
            self.write(packets.text_frame("3"))
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
        is_machine = _MACHINE.fullmatch(namespace) is not None
        if namespace != "/main" and not is_machine:
            self._send(packets.CONNECT_ERROR, namespace, {"message": "Invalid namespace"})
            return
        if self._connect_timer is not None:
            self._connect_timer.cancel()
        self._send(packets.CONNECT, namespace, {"sid": self.sid})
        self.namespaces.append(namespace)
        self._backend.emitter.join(namespace, self)
        if namespace == "/main":
            for frame in self._backend.replay.values():
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


class SocketServer:
    """/socket.io of one life of the process."""

    def __init__(self, backend: Backend, times: EngineTimes) -> None:
        self._backend = backend
        self._times = times
        self._sessions: set[Session] = set()

    def drop_all(self) -> None:
        """The process has died."""
        for session in list(self._sessions):
            session.abort()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Engine.IO handshake, then the WebSocket until it ends."""
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        if request.query["transport"] == "polling":
            times = self._times
            greeting = packets.open_packet(new_sid(), ["websocket"], times.ping_interval_s, times.ping_timeout_s)
            return web.Response(text=greeting, content_type="text/plain", charset="UTF-8")
        return await self._websocket(request)

    def _refuse(self, request: web.Request) -> web.Response | None:
        """Recorded error bodies of engineioxide."""
        query = request.query
        if query.get("EIO") != "4":
            return _engine_error("5", "Unsupported protocol version")
        if query.get("transport") not in ("polling", "websocket"):
            return _engine_error("0", "Transport unknown")
        if "sid" in query:
            return _engine_error("1", "Session ID unknown")
        return None

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=packets.MAX_PAYLOAD, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None or len(self._sessions) >= MAX_SESSIONS:
            return socket
        session = Session(self._backend, transport, self._times)
        self._sessions.add(session)
        try:
            session.open()
            await _listen(socket, session)
        finally:
            self._sessions.discard(session)
            session.end()
        return socket


async def _listen(socket: web.WebSocketResponse, session: Session) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            session.text(message.data)
        elif message.type is WSMsgType.BINARY:
            session.binary(message.data)


def _engine_error(code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=400)
