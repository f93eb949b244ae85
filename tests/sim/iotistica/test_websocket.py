"""The WebSocket, as recorded: refusals, order, snapshots twice, memory, limits and the token's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.sim.iotistica.vendor import Client, iotistica, recording, shape


def recorded(kind: str, live: bool = False) -> Any:
    """The first message of a kind that the vendor sent; live ones say where they come from."""
    for frame in recording("websocket")["frames"]:
        data = frame.get("data")
        if frame.get("dir") == "in" and data["type"] == kind and ("source" in data) == live:
            return data
    raise KeyError(kind)


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"{client.vendor.url}/ws?token={client.token}&deviceUuid={client.agent.uuid}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert shape(await heard(socket)) == shape(recorded("connected"))
        yield socket


async def heard(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads((await asyncio.wait_for(socket.receive(), 30)).data)


@pytest.mark.parametrize(
    ("query", "status"),
    [("deviceUuid={uuid}", 401), ("token=x&deviceUuid={uuid}", 401), ("token={refresh}&deviceUuid={uuid}", 401),
     ("token={token}", 400)],
)  # fmt: skip
async def test_upgrade_is_refused(query: str, status: int) -> None:
    async with iotistica() as client, aiohttp.ClientSession() as session:
        query = query.format(uuid=client.agent.uuid, refresh=client.refresh, token=client.token)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{client.vendor.url}/ws?{query}")
        assert refused.value.status == status


async def test_snapshot_comes_twice_and_its_memory_is_divided_away() -> None:
    async with iotistica() as client, connected(client) as socket:
        await socket.send_json({"type": "subscribe", "channel": "history"})
        assert (await heard(socket))["type"] == "subscribed"
        first, second = await heard(socket), await heard(socket)
        assert first == second
        assert shape(first) == shape(recorded("history"))
        assert first["data"]["memory"][0] == {"time": first["data"]["memory"][0]["time"], "used": 0, "available": 0}


async def test_live_history_has_each_report_twice_in_megabytes() -> None:
    async with iotistica() as client, connected(client) as socket:
        await socket.send_json({"type": "subscribe", "channel": "history"})
        for _ in range(3):
            await heard(socket)
        client.vendor.faults.advance(70)
        live = await heard(socket)
        assert shape(live) == shape(recorded("history", live=True))
        assert len(live["data"]["cpu"]) == 2
        memory = live["data"]["memory"][0]
        assert memory["used"] + memory["available"] == 3904


async def test_answers_to_what_is_wrong_and_ping() -> None:
    async with iotistica() as client, connected(client) as socket:
        await socket.send_json({"type": "ping"})
        await socket.send_json({"type": "subscribe", "channel": "nope"})
        await socket.send_str("{")
        answers = [await heard(socket) for _ in range(3)]
        assert answers == [
            {"type": "pong"},
            {"type": "error", "message": "Invalid message format: Invalid input"},
            {"type": "error", "message": "Failed to parse message"},
        ]


async def test_closed_with_1008_when_the_token_ends() -> None:
    async with iotistica() as client, connected(client) as socket:
        client.vendor.faults.advance(900)
        message = await asyncio.wait_for(socket.receive(), 30)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert (message.data, message.extra) == (1008, "Token expired")


async def test_closed_with_1008_after_a_thousand_messages() -> None:
    async with iotistica() as client, connected(client) as socket:
        for _ in range(1001):
            await socket.send_str('{"type":"ping"}')
        for _ in range(1000):
            assert await heard(socket) == {"type": "pong"}
        message = await asyncio.wait_for(socket.receive(), 30)
        assert (message.data, message.extra) == (1008, "Rate limit exceeded")


async def test_dropped_without_a_word() -> None:
    async with iotistica() as client, connected(client) as socket:
        await client.vendor.faults.drop_websockets()
        assert (await asyncio.wait_for(socket.receive(), 30)).type is not aiohttp.WSMsgType.TEXT
