"""The network between a bridge and its broker: a TCP road that may be closed, slow or silent; and a host name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from tests.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

PORTION = 65_536
TURN_S = 0.02


class Road:
    """Carries connections to `port` on loopback. Open when it is entered."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.rate: float | None = None
        """Bytes a second each way."""
        self.is_silent = False
        """Connections are taken and nothing is carried."""
        self.carried = 0
        self._to = port
        self._server: asyncio.Server | None = None
        self._trips: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Road:
        await self.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def open(self, host: str = "127.0.0.1") -> None:
        """Listen, at this address of loopback."""
        self._server = await asyncio.start_server(self._travel, host, self.port)

    async def close(self) -> None:
        """Nobody listens, and every connection breaks."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def cut(self) -> None:
        """Every connection breaks."""
        trips = [*self._trips]
        for trip in trips:
            trip.cancel()
        if trips:
            await asyncio.wait(trips)

    async def _travel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._trips.add(task)
        others: list[asyncio.StreamWriter] = [writer]
        ways: list[asyncio.Task[None]] = []
        try:
            far, further = await asyncio.open_connection("127.0.0.1", self._to)
            others.append(further)
            ways = [asyncio.create_task(self._carry(reader, further)), asyncio.create_task(self._carry(far, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass  # who waits at either end sees the connection break
        finally:
            for way in ways:
                way.cancel()
            if ways:
                await asyncio.gather(*ways, return_exceptions=True)
            for one in others:
                one.transport.abort()
            self._trips.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PORTION if self.rate is None else max(1, int(self.rate * TURN_S))):
                while self.is_silent:  # noqa: ASYNC110 - switched by the test
                    await asyncio.sleep(TURN_S)
                if self.rate is not None:
                    await asyncio.sleep(TURN_S)
                writer.write(data)
                await writer.drain()
                self.carried += len(data)


class Name:
    """A host name that resolves to `address`, or to nothing."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.address: str | None = "127.0.0.1"
        monkeypatch.setattr(socket, "getaddrinfo", self._resolving(socket.getaddrinfo))

    def _resolving(self, resolve: Callable[..., Any]) -> Callable[..., Any]:
        def answer(host: Any, *arguments: Any, **options: Any) -> Any:
            if host != self.name:
                return resolve(host, *arguments, **options)
            if self.address is None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return resolve(self.address, *arguments, **options)

        return answer
