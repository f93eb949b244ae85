"""A wire between a client and a broker: notes every packet of the client, and may break after any of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from bridge.transport.mqtt import BrokerConfig
from tests.northbound.sparkplug import schema

if TYPE_CHECKING:
    from tests.broker import Broker

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 3, 4, 8, 9, 14


@dataclass(frozen=True)
class Packet:
    """One packet, and the milliseconds of its passing."""

    first: int
    body: bytes
    is_five: bool
    at_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def kind(self) -> int:
        return self.first >> 4

    @property
    def qos(self) -> int:
        return self.first >> 1 & 3

    @property
    def retain(self) -> bool:
        return bool(self.first & 1)

    @cached_property
    def topic(self) -> str:
        """Of a PUBLISH."""
        return _Reader(self.body).text()

    @cached_property
    def message(self) -> str:
        """Of a PUBLISH: NBIRTH and so on."""
        return self.topic.split("/")[2]

    @property
    def device(self) -> str:
        return self.topic.split("/")[4] if self.topic.count("/") == 4 else ""

    @cached_property
    def payload(self) -> Any:
        """Of a PUBLISH, decoded by a library that is not ours."""
        reader = _Reader(self.body)
        reader.text()
        reader.take(2 if self.qos else 0)
        if self.is_five:
            reader.properties()
        return schema.decode(reader.rest())

    @property
    def bd_seq(self) -> int | None:
        return next((one.long_value for one in self.payload.metrics if one.name == "bdSeq"), None)

    @cached_property
    def filters(self) -> dict[str, int]:
        """Of a SUBSCRIBE: QoS by topic filter."""
        reader = _Reader(self.body)
        reader.take(2)
        if self.is_five:
            reader.properties()
        found = {}
        while reader.left:
            name = reader.text()
            found[name] = reader.take(1)[0] & 3
        return found

    @property
    def reason(self) -> int:
        """Of a DISCONNECT."""
        return self.body[0] if self.body else 0


@dataclass(frozen=True)
class Connect:
    """A CONNECT, read."""

    level: int
    is_clean: bool
    expiry_s: int
    keep_alive: int
    client_id: str
    will_topic: str | None
    will_qos: int
    will_retain: bool
    will: Any

    @classmethod
    def of(cls, packet: Packet) -> Connect:
        reader = _Reader(packet.body)
        reader.text()
        level, flags = reader.take(2)
        keep_alive = int.from_bytes(reader.take(2), "big")
        expiry = reader.properties() if level == 5 else b""
        client_id = reader.text()
        has_will = bool(flags & 4)
        if has_will and level == 5:
            reader.properties()
        topic = reader.text() if has_will else None
        will = schema.decode(reader.block()) if has_will else None
        expiry_s = int.from_bytes(expiry[1:5], "big") if expiry[:1] == b"\x11" else 0
        return cls(
            level,
            bool(flags & 2),
            expiry_s,
            keep_alive,
            client_id,
            topic,
            flags >> 3 & 3,
            bool(flags & 32),
            will,
        )

    @property
    def bd_seq(self) -> int:
        (metric,) = self.will.metrics
        assert metric.name == "bdSeq"
        return int(metric.long_value)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def block(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))

    def text(self) -> str:
        return self.block().decode()

    def properties(self) -> bytes:
        return self.take(self.take(1)[0])

    def rest(self) -> bytes:
        return self.take(self.left)


@dataclass
class Session:
    """What a client sent over one connection."""

    packets: list[Packet] = field(default_factory=list)
    is_over: bool = False

    @property
    def connect(self) -> Connect:
        return Connect.of(self.packets[0])

    @property
    def published(self) -> list[Packet]:
        return self.of(PUBLISH)

    def of(self, kind: int) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind == kind]

    def said(self, *messages: str) -> list[Packet]:
        """The Sparkplug messages of these kinds."""
        return [packet for packet in self.published if packet.message in messages]


class Tap:
    """`async with Tap(broker) as tap`: connect to `tap.config`.

    `breaks_after` says after which packet the connection breaks; `refuses` names topic filters the broker is made to
    refuse.
    """

    def __init__(self, server: Broker, protocol: str = "3.1.1", refuses: Sequence[str] = ()) -> None:
        self._target = server.config
        self._protocol = protocol
        self._refuses = refuses
        self._refused: set[bytes] = set()
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self.sessions: list[Session] = []
        self.open = 0
        self.breaks_after: Callable[[Packet], bool] = lambda packet: False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        while self.open:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    @property
    def config(self) -> BrokerConfig:
        port = self._server.sockets[0].getsockname()[1]
        return BrokerConfig.model_validate({"port": port, "protocol": self._protocol})

    @property
    def published(self) -> list[Packet]:
        return [packet for session in self.sessions for packet in session.published]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session()
        self.sessions.append(session)
        self.open += 1
        self._writers.add(writer)
        try:
            there = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                session.packets.append((await _packet(reader, self._protocol == "5"))[1])
            writer.transport.abort()
            self.open -= 1
            session.is_over = True
            return
        self._writers.add(there[1])
        ways = (
            asyncio.create_task(self._up(session, reader, there[1])),
            asyncio.create_task(self._down(session, there[0], writer)),
        )
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, there[1]):
            one.transport.abort()
            self._writers.discard(one)
        await asyncio.wait(ways)
        session.is_over = True
        self.open -= 1

    async def _up(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                raw, packet = await _packet(reader, self._protocol == "5")
                session.packets.append(packet)
                if packet.kind == SUBSCRIBE and set(packet.filters) & set(self._refuses):
                    self._refused.add(packet.body[:2])
                writer.write(raw)
                await writer.drain()
                if packet.kind == DISCONNECT or self.breaks_after(packet):
                    await asyncio.sleep(0.05 if packet.kind == DISCONNECT else 0)
                    return

    async def _down(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                raw, packet = await _packet(reader, self._protocol == "5")
                if packet.kind == SUBACK and packet.body[:2] in self._refused:
                    raw = raw[:-1] + (b"\x87" if self._protocol == "5" else b"\x80")
                writer.write(raw)
                await writer.drain()


async def _packet(reader: asyncio.StreamReader, is_five: bool) -> tuple[bytes, Packet]:
    head = await reader.readexactly(1)
    size, shift = 0, 0
    while True:
        byte = await reader.readexactly(1)
        head += byte
        size |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            body = await reader.readexactly(size)
            return head + body, Packet(head[0], body, is_five)
