"""The vendor by itself: what a mutation takes from its POST to the event or the reading that shows it.

3.x: POST, then the machine's next StateEvent that shows it. 2.x: POST, then GETs until one shows it.
It reads and writes a machine the bridge leaves alone: whoever leaves a machine's namespace silences it for everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from benchmarks.sites import SERIALS, SLUG
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.payloads import parse_event
from bridge.sources.qitech.socketio import EVENT, PATH, PING, PONG, decode, encode_connect

MACHINE = Identity(1, 4, SERIALS + 1)
"""The panel's second extruder."""

PATIENCE_S = 10.0


class Vendor:
    """One kept connection for requests and, on 3.x, one stream."""

    def __init__(self, url: str, http: aiohttp.ClientSession, stream: aiohttp.ClientWebSocketResponse | None) -> None:
        self._url = url
        self._http = http
        self._stream = stream

    async def set_speed(self, speed: float) -> float:
        """Seconds from before the POST until the machine shows this screw speed."""
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S):
            reading = asyncio.create_task(self._announced(speed)) if self._stream is not None else None
            body = {"machine_identification_unique": MACHINE.unique, "data": {"SetInverterTargetRpm": speed}}
            async with self._http.post(f"{self._url}/api/v1/machine/mutate", json=body) as answer:
                answer.raise_for_status()
                await answer.read()
            await (reading if reading is not None else self._read(speed))
        return time.perf_counter() - began

    async def _announced(self, speed: float) -> None:
        assert self._stream is not None
        async for message in self._stream:
            if message.type is aiohttp.WSMsgType.TEXT and message.data == PING:
                await self._stream.send_str(PONG)
            elif message.type is aiohttp.WSMsgType.BINARY:
                packet = decode(message.data)
                event = parse_event(packet.data) if packet.type == EVENT else None
                if event is not None and event.name == "StateEvent" and _shows(event.data, speed):
                    return
        raise RuntimeError("the panel closed its stream")

    async def _read(self, speed: float) -> None:
        while True:
            async with self._http.get(f"{self._url}/api/v2/machine/{SLUG}/{MACHINE.serial}") as answer:
                answer.raise_for_status()
                if _shows((await answer.json())["state"], speed):
                    return


def _shows(state: Any, speed: float) -> bool:
    return abs(state["screw_state"]["target_rpm"] - speed) < 1e-6


@asynccontextmanager
async def connected(url: str, release: str) -> AsyncIterator[Vendor]:
    """A vendor to talk to."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        stream = None
        if release.startswith("3"):
            stream = await stack.enter_async_context(http.ws_connect(url + PATH))
            await stream.receive()  # the handshake
            await stream.send_bytes(encode_connect(MACHINE.namespace))
        yield Vendor(url, http, stream)
