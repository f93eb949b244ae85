"""node-opcua as a client of events, conditions and history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.node_peer import NodePeer, node_peer
from tests.northbound.opcua.house import PASSWORD, House, identity

SERVER = "ns=0;i=2253"


class EventPeer:
    """A client that is connected and logged in."""

    def __init__(self, peer: NodePeer) -> None:
        self._peer = peer

    async def ask(self, **wish: Any) -> Any:
        self._peer.say(wish)
        return (await self.line())["answer"]

    async def line(self) -> dict[str, Any]:
        found = await self._peer.line()
        assert "error" not in found, found["error"]
        return found


@asynccontextmanager
async def event_peer(home: House, user: str = "observer") -> AsyncIterator[EventPeer]:
    client = identity("node")
    home.trust(client)
    plan = {
        "url": home.url,
        "user": user,
        "password": PASSWORD,
        "certificate": str(client.certificate_file),
        "key": str(client.key_file),
        "applicationUri": client.uri,
        "store": str(client.folder / "store"),
    }
    async with node_peer("opcua_events.js", plan) as process:
        peer = EventPeer(process)
        assert (await peer.line())["ready"]
        yield peer


__all__ = ["SERVER", "EventPeer", "event_peer"]
