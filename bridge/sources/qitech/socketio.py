"""Socket.IO as QiTech speaks it: Engine.IO 4 over one WebSocket, the msgpack parser, one namespace a connection.

    panel                                   bridge
      text   0{"sid", "pingInterval", ...}  ->
      <-  binary {"type": 0, "nsp": "/main", "data": {}}        CONNECT
      binary {"type": 0, "nsp": "/main", "data": {"sid"}}  ->   joined (type 4 CONNECT_ERROR: refused)
      binary {"type": 2, "nsp": "/main", "data": ["event", {...}]}  ->
      text   2  ->                          <- text 3           ping and pong, every 25 s

A client that reads slowly stalls every other client of the panel (its HMI too), so the socket is drained by a task that
does nothing else. One connection a namespace: one that breaks takes no other with it.
Source: socket.io protocol 5, engine.io protocol 4, socket.io-msgpack-parser; socketioxide 0.15.2 and 0.17.2.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import aiohttp
import msgpack

from bridge.errors import NotConnected, ProtocolError, SourceError
from bridge.sources.qitech.inbox import Inbox
from bridge.sources.qitech.payloads import Envelope, parse_event, parse_json
from bridge.transport.http import status_error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from bridge.ports import Clock

log = logging.getLogger(__name__)

PATH: Final = "/socket.io/?EIO=4&transport=websocket"

OPEN_TIMEOUT: Final = 10.0
"""Seconds for connecting and joining; the panel itself allows 45."""

FRAME_LIMIT: Final = 1024 * 1024
"""Bytes of one frame; the largest known is a list of EtherCAT devices, some kB."""

CLOSE_TIMEOUT: Final = 0.5
"""Seconds for a WebSocket's goodbye."""

MOMENT: Final = 0.05
"""Seconds."""

CONNECT, DISCONNECT, EVENT, CONNECT_ERROR = 0, 1, 2, 4
"""Socket.IO packet types."""

PING, PONG, CLOSE = "2", "3", "1"
"""Engine.IO packets."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Engine.IO's open packet; seconds."""

    ping_interval: float
    ping_timeout: float

    @property
    def silence(self) -> float:
        """Seconds without any frame after which the connection is dead."""
        return self.ping_interval + self.ping_timeout


class Packet(NamedTuple):
    """One Socket.IO packet."""

    type: int
    namespace: str
    data: Any


def parse_handshake(text: str) -> Handshake:
    """The open packet: 0{"sid", "upgrades", "pingInterval": ms, "pingTimeout": ms}. Raises ProtocolError."""
    if not text.startswith("0"):
        raise ProtocolError(f"No Engine.IO handshake, but {text[:40]!r}")
    data = parse_json(text[1:].encode())
    if not isinstance(data, dict):
        raise ProtocolError("The Engine.IO handshake is not an object")
    return Handshake(_milliseconds(data, "pingInterval", 25_000), _milliseconds(data, "pingTimeout", 20_000))


def _milliseconds(data: Mapping[str, Any], key: str, default: int) -> float:
    value = data.get(key)
    is_usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 3_600_000
    return (value if is_usable and value is not None else default) / 1000


def encode_connect(namespace: str) -> bytes:
    """The packet that joins a namespace."""
    packed: bytes = msgpack.packb({"type": CONNECT, "nsp": namespace, "data": {}})
    return packed


def decode(frame: bytes) -> Packet:
    """A binary frame. Raises ProtocolError, whatever the bytes."""
    try:
        packet = msgpack.unpackb(frame, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"A frame that is not msgpack: {frame[:24]!r}") from error
    kind, namespace = (packet.get("type"), packet.get("nsp")) if isinstance(packet, dict) else (None, None)
    if not isinstance(kind, int) or not isinstance(namespace, str):
        raise ProtocolError(f"A frame that is no Socket.IO packet: {frame[:24]!r}")
    return Packet(kind, namespace, packet.get("data"))


ERRORS: Final[tuple[tuple[type[Exception], type[SourceError], str], ...]] = (
    (aiohttp.ServerTimeoutError, NotConnected, "The panel does not answer"),
    (aiohttp.ClientConnectorCertificateError, NotConnected, "The panel's certificate is not trusted: {error}"),
    (aiohttp.ClientSSLError, NotConnected, "The panel does not encrypt as we do: {error}"),
    (aiohttp.ClientConnectionError, NotConnected, "The panel's event stream cannot be reached: {error}"),
    (aiohttp.ClientPayloadError, NotConnected, "The panel broke off its answer: {error}"),
    (aiohttp.RedirectClientError, ProtocolError, "The panel sends us elsewhere: {error}"),
    (aiohttp.NonHttpUrlClientError, ProtocolError, "The panel's address is not http or https: {error}"),
    (aiohttp.InvalidURL, ProtocolError, "The panel's address cannot be used: {error}"),
    (aiohttp.ClientResponseError, ProtocolError, "The panel refused the event stream: {error}"),
    (aiohttp.ClientError, NotConnected, "The panel's event stream failed: {error}"),
    (aiohttp.WebSocketError, ProtocolError, "The panel broke the WebSocket protocol: {error}"),
    (TimeoutError, NotConnected, "The panel does not answer in time"),
    (OSError, NotConnected, "The connection to the panel broke: {error}"),
)
"""What an exception of aiohttp becomes: the first row that fits."""


def stream_error(error: Exception) -> SourceError | None:
    """Our error for one of aiohttp's; None for an exception that is none of them."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return status_error(error.status, "The panel's event stream")
    for theirs, ours, sentence in ERRORS:
        if isinstance(error, theirs):
            return ours(sentence.format(error=str(error) or type(error).__name__))
    return None


@dataclass(frozen=True, slots=True)
class Door:
    """How to reach a panel's event stream: made once a run, used for every connection alike."""

    session: aiohttp.ClientSession
    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None


class Connection:
    """One WebSocket that has joined one namespace. Entered once.

    Entering raises NotConnected, AuthFailed, or ProtocolError (CONNECT_ERROR). `stall` is how many seconds without an
    event mean that the panel has forgotten us; None where silence is usual.
    """

    def __init__(self, door: Door, namespace: str, clock: Clock, stall: float | None = None) -> None:
        self._door = door
        self._clock = clock
        self._stall = stall
        self._inbox = Inbox()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshake = Handshake(25, 20)
        self.namespace = namespace
        self.last_frame = clock.monotonic()
        self.last_event = clock.monotonic()
        self.garbage_total = 0
        """Frames that could not be read."""

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._open()
        except Exception as error:
            translation = stream_error(error)
            if translation is None:
                raise
            raise translation from error
        return self

    async def _open(self) -> None:
        door = self._door
        self._socket = await door.session.ws_connect(
            door.url + PATH,
            headers=door.headers,
            ssl=door.tls if door.tls is not None else True,
            max_msg_size=FRAME_LIMIT,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
        )
        try:
            await self._join()
        except BaseException:
            await self._socket.close()
            raise
        self.last_frame = self.last_event = self._clock.monotonic()
        self._tasks = {
            asyncio.create_task(self._drain(), name=f"qitech {self.namespace}"),
            asyncio.create_task(self._watch(), name=f"qitech watch {self.namespace}"),
        }

    async def _join(self) -> None:
        opening = await self._socket.receive()
        if opening.type is not aiohttp.WSMsgType.TEXT:
            raise NotConnected("The panel's event stream broke off before its handshake")
        self._handshake = parse_handshake(opening.data)
        await self._socket.send_bytes(encode_connect(self.namespace))
        while True:
            frame = await self._socket.receive()
            if frame.type is aiohttp.WSMsgType.BINARY and self._is_welcome(decode(frame.data)):
                return
            await self._answer(frame)

    def _is_welcome(self, packet: Packet) -> bool:
        if packet.type == CONNECT_ERROR:
            words = packet.data.get("message") if isinstance(packet.data, dict) else packet.data
            raise ProtocolError(f"The panel refuses {self.namespace}: {words}")
        return packet.type == CONNECT and packet.namespace == self.namespace

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait(self._tasks)
        finally:
            await self._socket.close()

    @property
    def merged_total(self) -> int:
        """Events that a newer one replaced before they were read."""
        return self._inbox.merged_total

    async def events(self) -> list[Envelope]:
        """The events that came, oldest first; waits for one. Raises NotConnected once the connection is over."""
        return await self._inbox.take()

    def end(self, reason: SourceError) -> None:
        """Let `events` raise this once it has handed out what came."""
        self._inbox.end(reason)

    async def _drain(self) -> None:
        """Read until the socket ends; then tell the inbox why."""
        try:
            while True:
                await self._accept(await self._socket.receive())
        except SourceError as error:
            self._inbox.end(error)
        except Exception as error:
            self._inbox.end(stream_error(error) or ProtocolError(f"The event stream cannot be read: {error!r}"))

    async def _accept(self, frame: aiohttp.WSMessage) -> None:
        self.last_frame = self._clock.monotonic()
        if frame.type is not aiohttp.WSMsgType.BINARY:
            await self._answer(frame)
            return
        try:
            event = self._event(decode(frame.data))
        except ProtocolError as error:
            self.garbage_total += 1
            log.debug("A frame on %s was passed over: %s", self.namespace, error)
            return
        if event is not None:
            self.last_event = self.last_frame
            await self._inbox.put(event)

    def _event(self, packet: Packet) -> Envelope | None:
        if packet.namespace != self.namespace:
            return None
        if packet.type == DISCONNECT:
            raise NotConnected(f"The panel closed {self.namespace}")
        return parse_event(packet.data) if packet.type == EVENT else None

    async def _answer(self, frame: aiohttp.WSMessage) -> None:
        """Engine.IO's own packets, and the socket's end."""
        if frame.type is aiohttp.WSMsgType.TEXT:
            if frame.data.startswith(PING):
                await self._socket.send_str(PONG + frame.data[1:])
            elif frame.data.startswith(CLOSE):
                raise NotConnected("The panel closed its event stream")
        elif frame.type in _ENDS:
            raise NotConnected("The panel's event stream broke off")

    async def _watch(self) -> None:
        """End the connection when it has been silent for too long."""
        while not (reason := self._lost()):
            await self._clock.sleep(self._patience())
        self._inbox.end(NotConnected(reason))

    def _patience(self) -> float:
        """Seconds until silence could have lasted too long; a moment at least, in which late frames are drained."""
        ends = self.last_frame + self._handshake.silence
        if self._stall is not None:
            ends = min(ends, self.last_event + self._stall)
        return max(MOMENT, ends + MOMENT - self._clock.monotonic())

    def _lost(self) -> str:
        """Why the connection must be made anew, or ""."""
        now = self._clock.monotonic()
        if now - self.last_frame >= self._handshake.silence:
            return f"The panel's event stream is silent for {self._handshake.silence:.0f} s"
        if self._stall is not None and now - self.last_event >= self._stall:
            return (
                f"No values for {self._stall:.0f} s though connected: "
                "another client left this machine's stream, or the machine hangs"
            )
        return ""


_ENDS: Final = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)
