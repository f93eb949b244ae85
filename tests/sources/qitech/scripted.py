"""An event stream that does what a test says, frame by frame, where the simulated panel is too well-behaved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgpack
from aiohttp import web

OPEN = '0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'

Script = Callable[[web.WebSocketResponse, str], Awaitable[None]]
"""What happens on a WebSocket once its client has joined a namespace."""


def packed(namespace: str, kind: int, data: Any) -> bytes:
    """A Socket.IO packet."""
    frame: bytes = msgpack.packb({"type": kind, "nsp": namespace, "data": data})
    return frame


def event(namespace: str, name: str, data: Any, ts: Any = 1_760_000_000_000) -> bytes:
    """An event as the panel sends it."""
    return packed(namespace, 2, ["event", {"name": name, "data": data, "ts": ts}])


def listed(*machines: tuple[int, int]) -> dict[str, Any]:
    """The data of a MachinesEvent: (machine, serial) of each."""
    unique = [
        {"machine_identification": {"vendor": 1, "machine": number}, "serial": serial} for number, serial in machines
    ]
    return {"machines": [{"machine_identification_unique": one, "error": None} for one in unique]}


async def forever(socket: web.WebSocketResponse, namespace: str) -> None:
    """Say nothing until the client leaves."""
    await socket.receive()


async def welcome(socket: web.WebSocketResponse) -> str:
    """Handshake and join; gives the namespace."""
    await socket.send_str(OPEN)
    frame = await socket.receive()
    namespace = str(msgpack.unpackb(frame.data)["nsp"])
    await socket.send_bytes(packed(namespace, 0, {"sid": "x"}))
    return namespace


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A web server on loopback; gives its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def streaming(
    script: Script, opening: Callable[[web.WebSocketResponse], Awaitable[str]] = welcome
) -> AsyncIterator[str]:
    """An event stream that follows `script`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        with suppress(ConnectionResetError, aiohttp.ClientError):
            await script(socket, await opening(socket))
        return socket

    async with serving(handle) as url:
        yield url


async def flood(socket: web.WebSocketResponse, frames: list[bytes]) -> None:
    """Send without giving way, then stay."""
    for frame in frames:
        await socket.send_bytes(frame)
    await asyncio.wait_for(socket.receive(), 30)
