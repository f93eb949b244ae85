"""One WebSocket, one namespace: joining, draining, and every way it can end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bridge.errors import AuthFailed, NotConnected, ProtocolError, SourceError
from bridge.sources.qitech import socketio
from bridge.sources.qitech.socketio import Connection, Door
from tests.sources.qitech.listener import HurriedClock, until
from tests.sources.qitech.scripted import event, flood, forever, packed, serving, streaming

MACHINE = "/machine/1/4/57922"


@asynccontextmanager
async def connection_to(url: str, stall: float | None = None, speed: float = 10) -> AsyncIterator[Connection]:
    async with aiohttp.ClientSession() as session:
        door = Door(session, url, {"Authorization": "Basic x"}, None)
        async with Connection(door, MACHINE, HurriedClock(speed), stall) as connection:
            yield connection
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("qitech ")] == []


async def test_events_come_in_order() -> None:
    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        assert namespace == MACHINE
        await socket.send_bytes(event(namespace, "StateEvent", {"n": 1}))
        await socket.send_bytes(event(namespace, "LiveValuesEvent", {"n": 2}))
        await forever(socket, namespace)

    async with streaming(script) as url, connection_to(url) as connection:
        events = await connection.events()
        if len(events) < 2:
            events += await connection.events()
    assert [(one.name, one.data, one.ts) for one in events] == [
        ("StateEvent", {"n": 1}, 1_760_000_000_000),
        ("LiveValuesEvent", {"n": 2}, 1_760_000_000_000),
    ]


async def test_ping_is_answered_before_and_after_joining() -> None:
    heard: list[str] = []

    async def opening(socket: web.WebSocketResponse) -> str:
        await socket.send_str('0{"pingInterval":25000,"pingTimeout":20000}')
        await socket.send_str("2")
        await socket.receive()
        heard.append((await socket.receive()).data)
        await socket.send_bytes(packed(MACHINE, 0, {"sid": "x"}))
        return MACHINE

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        await socket.send_str("2")
        heard.append((await socket.receive()).data)
        await socket.send_bytes(event(namespace, "StateEvent", {}))
        await forever(socket, namespace)

    async with streaming(script, opening) as url, connection_to(url) as connection:
        await connection.events()
    assert heard == ["3", "3"]


async def test_garbage_is_passed_over_and_counted() -> None:
    garbage = [b"", b"\xc1", b"\x93\x01", packed(MACHINE, 2, None), packed(MACHINE, 2, ["event", {"n": 1}])]
    elsewhere = [event("/other", "StateEvent", {}), packed(MACHINE, 3, [])]

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        await flood(socket, [*garbage, *elsewhere, event(namespace, "StateEvent", {"n": 1})])

    async with streaming(script) as url, connection_to(url) as connection:
        assert [one.data for one in await connection.events()] == [{"n": 1}]
        assert connection.garbage_total == len(garbage)


async def test_reader_that_is_slow_holds_nothing_up_and_loses_no_state() -> None:
    sent = asyncio.Event()

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        for number in range(2000):
            await socket.send_bytes(event(namespace, "LiveValuesEvent", {"n": number}))
            if number % 20 == 0:
                await socket.send_bytes(event(namespace, "StateEvent", {"n": number}))
        sent.set()
        await forever(socket, namespace)

    async with streaming(script) as url, connection_to(url) as connection:
        async with asyncio.timeout(30):
            await sent.wait()
        await until(lambda: connection.merged_total == 1999)
        events = await connection.events()
    assert [one.data["n"] for one in events if one.name == "StateEvent"] == list(range(0, 2000, 20))
    assert [one.data["n"] for one in events if one.name == "LiveValuesEvent"] == [1999]


@pytest.mark.parametrize("how", ["close", "abort", "disconnect", "engine close"])
async def test_end_of_the_stream_is_not_connected_after_what_came(how: str) -> None:
    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        await socket.send_bytes(event(namespace, "StateEvent", {"n": 1}))
        if how == "close":
            await socket.close()
        elif how == "disconnect":
            await socket.send_bytes(packed(namespace, 1, None))
            await forever(socket, namespace)
        elif how == "engine close":
            await socket.send_str("1")
            await forever(socket, namespace)

    async with streaming(script) as url, connection_to(url) as connection:
        assert [one.data for one in await connection.events()] == [{"n": 1}]
        with pytest.raises(NotConnected):
            await connection.events()


async def test_refused_namespace_is_told_in_the_panels_words() -> None:
    async def opening(socket: web.WebSocketResponse) -> str:
        await socket.send_str("0{}")
        await socket.receive()
        await socket.send_bytes(packed(MACHINE, 4, {"message": "Invalid namespace"}))
        return MACHINE

    async with streaming(forever, opening) as url:
        with pytest.raises(ProtocolError, match="Invalid namespace"):
            async with connection_to(url):
                pass


@pytest.mark.parametrize(("status", "kind"), [(401, AuthFailed), (502, NotConnected), (404, ProtocolError)])
async def test_refused_upgrade(status: int, kind: type[SourceError]) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(handle) as url:
        with pytest.raises(kind):
            async with connection_to(url):
                pass


async def test_nobody_listens() -> None:
    async with streaming(forever) as url:
        pass
    with pytest.raises(NotConnected):
        async with connection_to(url):
            pass


@pytest.mark.parametrize("first", ["", "garbage", "nothing"])
async def test_panel_without_a_handshake(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketio, "OPEN_TIMEOUT", 0.2)

    async def opening(socket: web.WebSocketResponse) -> str:
        if first == "garbage":
            await socket.send_bytes(b"\x00")
        elif first == "":
            await socket.close()
        return MACHINE

    async with streaming(forever, opening) as url:
        with pytest.raises(NotConnected):
            async with connection_to(url):
                pass


async def test_dead_line_is_noticed_by_the_missing_ping() -> None:
    """45 s by the panel's own times; the clock hurries."""
    async with streaming(forever) as url, connection_to(url, speed=200) as connection:
        with pytest.raises(NotConnected, match="silent for 45 s"):
            await connection.events()


async def test_stream_without_events_is_stalled_though_pings_come() -> None:
    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        while not socket.closed:
            await socket.send_str("2")
            await asyncio.sleep(0.02)

    async with streaming(script) as url, connection_to(url, stall=2.0) as connection:
        with pytest.raises(NotConnected, match="No values for 2 s"):
            await connection.events()


async def test_events_keep_the_watchdog_quiet() -> None:
    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        for number in range(30):
            await socket.send_bytes(event(namespace, "LiveValuesEvent", {"n": number}))
            await asyncio.sleep(0.02)
        await forever(socket, namespace)

    async with streaming(script) as url, connection_to(url, stall=2.0) as connection:
        last = -1
        while last < 29:
            last = (await connection.events())[-1].data["n"]
