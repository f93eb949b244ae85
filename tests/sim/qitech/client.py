"""A Socket.IO client of the msgpack parser for these tests, written against the recorded frames only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgpack

from bridge.sim.qitech import Panel

Packet = dict[str, Any]


class Client:
    """One WebSocket: what came is kept in `packets` (Socket.IO) and `texts` (Engine.IO)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.packets: list[Packet] = []
        self.texts: list[str] = []
        self.closed = asyncio.Event()
        self._changed = asyncio.Event()
        self.answers_pings = True

    async def listen(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.texts.append(message.data)
                if message.data == "2" and self.answers_pings:
                    await self.socket.send_str("3")
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.packets.append(msgpack.unpackb(message.data))
            self._changed.set()
        self.closed.set()
        self._changed.set()

    def stop_reading(self) -> None:
        """Take nothing out of the kernel's buffer any more."""
        self.transport.pause_reading()

    def abort(self) -> None:
        """Vanish."""
        self.transport.abort()

    @property
    def transport(self) -> asyncio.Transport:
        connection = self.socket._response.connection
        assert connection is not None
        transport = connection.transport
        assert isinstance(transport, asyncio.Transport)
        return transport

    async def send(self, kind: int, namespace: str, **more: Any) -> None:
        await self.socket.send_bytes(msgpack.packb({"type": kind, "nsp": namespace, **more}))

    async def connect(self, namespace: str) -> Packet:
        await self.send(0, namespace)
        return await self.packet(lambda packet: packet["type"] in (0, 4) and packet["nsp"] == namespace)

    async def packet(self, wanted: Callable[[Packet], bool], after: int = 0) -> Packet:
        """The first packet that is wanted, among those from position `after` on."""
        while True:
            for packet in self.packets[after:]:
                if wanted(packet):
                    return packet
            assert not self.closed.is_set(), "the connection is closed"
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 30)

    async def event(self, name: str, after: int = 0, where: Callable[[Any], bool] = lambda _: True) -> Packet:
        """The argument of the first "event" of this name."""
        packet = await self.packet(
            lambda p: p["type"] == 2 and p["data"][1]["name"] == name and where(p["data"][1]["data"]), after
        )
        return packet["data"][1]

    def names(self, after: int = 0) -> list[str]:
        return [packet["data"][1]["name"] for packet in self.packets[after:] if packet["type"] == 2]


@asynccontextmanager
async def connected(
    panel: Panel, *namespaces: str, answering: bool = True, listening: bool = True, **options: Any
) -> AsyncIterator[Client]:
    """A client that has joined these namespaces; `listening=False`: and then reads nothing any more."""
    url = panel.url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        client = Client(socket)
        client.answers_pings = answering
        task = asyncio.create_task(client.listen())
        try:
            for namespace in namespaces:
                await client.connect(namespace)
            if not listening:
                client.stop_reading()
            yield client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
