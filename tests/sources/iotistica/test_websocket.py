from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from bridge.model.observation import Condition
from bridge.sources.iotistica.rest.figures import Figures
from bridge.sources.iotistica.rest.rest import Rest
from tests.sources.iotistica.cloud import AGENT, At

RECORDED = Path(__file__).parents[2] / "recorded/iotistica/rest/websocket.json"
MIB = 1 << 20


def history(time: str, cpu: float, used: float, free: float) -> dict[str, Any]:
    memory = [{"time": time, "used": used, "available": free}]
    return {"type": "history", "data": {"cpu": [{"time": time, "value": cpu}], "memory": memory, "network": []}}


class Sockets:
    """The server's /ws: tokens of the cloud, closed with 1008 when they end."""

    def __init__(self, at: At) -> None:
        self.at = at
        self.now: set[web.WebSocketResponse] = set()
        """Those that are subscribed to everything."""
        self.fewest = 1
        """The fewest there were, since there was one."""
        self.opened = 0
        self.heard: list[Any] = []
        self.refuse = 0
        self.is_silent = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("token", "")
        if self.refuse:
            return web.Response(status=self.refuse)
        if self.at.cloud.tokens.get(token, -1.0) <= self.at.clock.monotonic():
            return web.Response(status=401)
        assert request.query["deviceUuid"] == AGENT
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        expiry = asyncio.create_task(self._expire(socket, self.at.cloud.tokens[token]))
        channels = set()
        try:
            async for frame in socket:
                if frame.type is not WSMsgType.TEXT:
                    break
                said = orjson.loads(frame.data)
                self.heard.append(said)
                if said["type"] == "subscribe":
                    channels.add(said["channel"])
                    await socket.send_json({"type": "subscribed", "channel": said["channel"]})
                    if len(channels) == 4:
                        self.now.add(socket)
                elif said["type"] == "ping" and not self.is_silent:
                    await socket.send_json({"type": "pong"})
        finally:
            expiry.cancel()
            if socket in self.now:
                self.now.discard(socket)
                self.fewest = min(self.fewest, len(self.now))
        return socket

    async def _expire(self, socket: web.WebSocketResponse, at: float) -> None:
        await self.at.clock.sleep(at - self.at.clock.monotonic())
        await socket.close(code=1008, message=b"Token expired")

    async def say(self, message: dict[str, Any]) -> None:
        for socket in list(self.now):
            await socket.send_json(message)


@contextlib.asynccontextmanager
async def at_work() -> AsyncIterator[tuple[At, Sockets, Rest]]:
    at = At()
    sockets = Sockets(at)
    app = web.Application()
    app.router.add_get("/ws", sockets.serve)
    async with TestServer(app) as server:
        rest = at.rest(url=f"http://127.0.0.1:{server.port}/api/v1", websocket=True)
        async with at.running(rest):
            await until(at, lambda: sockets.now)
            yield at, sockets, rest


async def until(at: At, condition: Any, step: float = 0.5) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await at.clock.advance(step)
            await asyncio.sleep(0.002)


async def test_the_stream_goes_on_over_every_end_of_a_token() -> None:
    async with at_work() as (at, sockets, _):
        ends = at.clock.monotonic() + 3000
        await until(at, lambda: at.clock.monotonic() > ends, step=5)
        assert sockets.fewest == 1
        assert 4 <= sockets.opened <= 6
        assert not [one for one in at.heard.of(Condition) if one.channel == "system"]
        assert {one["channel"] for one in sockets.heard if one["type"] == "subscribe"} == {
            "system-info", "history", "network-interfaces", "logs",
        }  # fmt: skip
        assert [one for one in sockets.heard if one["type"] == "ping"]


async def test_figures_come_once_though_both_sockets_tell_them() -> None:
    async with at_work() as (at, sockets, _):
        for _ in range(2):
            await sockets.say(history("2026-03-10T09:00:10.000Z", 20, 1978, 22125))
        await sockets.say(history("2026-03-10T09:00:10.007Z", 20, 1978, 22125))
        await sockets.say(history("2026-03-10T09:00:40.000Z", 25, 1979, 22124))
        await until(at, lambda: at.heard.channel("system") and at.heard.channel("system")[-1]["cpu_usage"] == 25)
        assert [one["cpu_usage"] for one in at.heard.channel("system")] == [20, 25]
        assert at.heard.channel("system")[-1]["memory_used"] == 1979 * MIB


async def test_a_socket_that_is_cut_is_told_and_made_anew() -> None:
    async with at_work() as (at, sockets, _):
        (socket,) = sockets.now
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()
        await until(at, lambda: [one for one in at.heard.of(Condition) if one.channel == "system"])
        await until(at, lambda: sockets.now and sockets.opened == 2)


async def test_a_server_that_says_nothing_any_more_is_left() -> None:
    async with at_work() as (at, sockets, _):
        sockets.is_silent = True
        await until(at, lambda: sockets.opened == 2, step=5)


async def test_a_refused_upgrade_takes_nothing_else_with_it_and_shows_no_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with at_work() as (at, sockets, _):
        sockets.refuse = 503
        for socket in list(sockets.now):
            await socket.close()
        at.heard.items.clear()
        await until(at, lambda: [one for one in at.heard.of(Condition) if one.channel == "system"])
        await until(at, lambda: at.heard.channel("agent"), step=5)
        logged = [one.getMessage() for one in caplog.records if one.name.startswith("bridge")]  # not the test's server
        assert logged
        shown = f"{at.heard.items!r} {logged}"
        assert all(token not in shown for token in at.cloud.tokens)
        sockets.refuse = 0
        await until(at, lambda: sockets.now, step=5)


def test_what_the_real_server_said_is_understood() -> None:
    figures = Figures()
    told = [
        payload
        for frame in orjson.loads(RECORDED.read_bytes())["frames"]
        if frame.get("dir") == "in" and (payload := figures.take(frame["data"])) is not None
    ]
    last = told[-1]
    assert last["hostname"] == "hall-1-gateway"
    assert last["cpu_usage"] == 20
    assert {one["name"] for one in last["interfaces"]} == {"lo", "eth0"}
    assert "uptime" not in last  # the server's 0 says nothing
    assert last.get("memory_used", MIB) >= MIB
    assert figures.repeated > 0


@pytest.mark.parametrize(
    ("used", "free", "expected"),
    [(1978, 22125, 1978 * MIB), (1978 * MIB, 22125 * MIB, 1978 * MIB), (0, 0, None), ("1978", "22125", 1978 * MIB)],
)
def test_memory_is_always_bytes(used: Any, free: Any, expected: float | None) -> None:
    payload = Figures().take(history("2026-03-10T09:00:10.000Z", 20, used, free))
    assert payload is not None
    assert payload.get("memory_used") == expected


def test_an_old_snapshot_moves_nothing_back() -> None:
    figures = Figures()
    figures.take(history("2026-03-10T09:00:40.000Z", 25, 1979, 22124))
    assert figures.take(history("2026-03-10T09:00:10.000Z", 20, 1978, 22125)) is None
    assert figures.repeated == 2


def test_logs_are_counted_and_their_words_kept_back() -> None:
    figures = Figures()
    rows = [
        {"level": "error", "serviceName": "modbus", "message": "password=tell-nobody", "timestamp": 1773133200000},
        {"level": "info", "service_name": "x", "message": "fine", "timestamp": 1773133201000},
        {"level": "warn", "service_name": "y", "message": "hm", "timestamp": "2026-03-10T09:00:02Z"},
    ]
    for _ in range(2):
        figures.take({"type": "logs", "data": {"logs": rows}})
    later = {**rows[0], "timestamp": 1773133260000}
    payload = figures.take({"type": "logs", "data": {"logs": [later]}})
    assert payload == {
        "log_errors": 2, "log_warnings": 1, "last_error": "2026-03-10T09:01:00.000Z", "last_error_service": "modbus",
    }  # fmt: skip


@pytest.mark.parametrize("message", [{}, {"type": "history"}, {"type": "history", "data": {"cpu": [5, {"time": "x"}]}}])
def test_nonsense_says_nothing(message: dict[str, Any]) -> None:
    assert Figures().take(message) is None
