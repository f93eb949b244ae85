"""An MQTT broker that does what a test tells it to, packet by packet."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bridge.transport.mqtt import BrokerConfig
from bridge.transport.mqtt_packet import fixed_header

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNACK_3, CONNACK_5 = b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00"


def connack_5(properties: bytes) -> bytes:
    """An acceptance that says what the broker can."""
    body = b"\x00\x00" + bytes((len(properties),)) + properties
    return fixed_header(0x20, len(body)) + body


@dataclass(frozen=True)
class Packet:
    """One packet of a client."""

    first: int
    body: bytes

    @property
    def topic(self) -> str:
        """Of a PUBLISH."""
        return self.body[2 : 2 + int.from_bytes(self.body[:2], "big")].decode()

    @property
    def after_topic(self) -> bytes:
        return self.body[2 + int.from_bytes(self.body[:2], "big") :]

    @property
    def identifier(self) -> int:
        """Of a PUBLISH with QoS 1."""
        return int.from_bytes(self.after_topic[:2], "big")


class PlayedBroker:
    """For one client after another; `async with PlayedBroker(connack) as broker`.

    It reads while `reads` is set, and answers what is published while `acknowledges` is. PINGREQ is answered always.
    """

    def __init__(self, connack: bytes = CONNACK_3, protocol: str = "3.1.1") -> None:
        self._connack = connack
        self._protocol = protocol
        self._server: asyncio.Server
        self._writer: asyncio.StreamWriter
        self._writers: list[asyncio.StreamWriter] = []
        self.published: list[Packet] = []
        self.others: list[Packet] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.acknowledges = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=65_536)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        self.reads.set()
        await self._server.wait_closed()
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def config(self) -> BrokerConfig:
        port = self._server.sockets[0].getsockname()[1]
        return BrokerConfig.model_validate({"port": port, "protocol": self._protocol})

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    def acknowledge(self, identifiers: Iterable[int]) -> None:
        self.say(b"".join(b"\x40\x02" + identifier.to_bytes(2, "big") for identifier in identifiers))

    def hang_up(self) -> None:
        self._writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._packet(reader)
            writer.write(self._connack)
            while True:
                await self.reads.wait()
                packet = await self._packet(reader)
                (self.published if packet.first & 0xF0 == 0x30 else self.others).append(packet)
                if packet.first == 0xC0:
                    writer.write(b"\xd0\x00")
                if packet.first & 0x06 and packet.first & 0xF0 == 0x30 and self.acknowledges:
                    self.acknowledge([packet.identifier])

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> Packet:
        first = (await reader.readexactly(1))[0]
        size, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return Packet(first, await reader.readexactly(size))
