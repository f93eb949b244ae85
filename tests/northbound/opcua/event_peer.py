"""node-opcua as a client of events, conditions and history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests import peers
from tests.northbound.opcua.house import PASSWORD, House, identity

SERVER = "ns=0;i=2253"


class EventPeer:
    """A client that is connected and logged in."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **wish: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        await self._process.stdin.drain()
        return (await self.line())["answer"]

    async def line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while not (text := await self._process.stdout.readline()).startswith(b">"):  # it prints warnings there too
                assert text, "the client ended without an answer"
        found: dict[str, Any] = json.loads(text[1:])
        assert "error" not in found, found["error"]
        return found


@asynccontextmanager
async def event_peer(home: House, store: Path, user: str = "observer") -> AsyncIterator[EventPeer]:
    client = identity("node")
    home.trust(client)
    plan = {
        "url": home.url,
        "user": user,
        "password": PASSWORD,
        "certificate": str(client.certificate_file),
        "key": str(client.key_file),
        "applicationUri": client.uri,
        "store": str(store),
    }
    process = await peers.start_node("opcua_events.js", json.dumps(plan))
    peer = EventPeer(process)
    assert process.stdin is not None
    try:
        assert (await peer.line())["ready"]
        yield peer
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
