"""Clients of node-opcua that share one process: what the library takes to load is paid once, not in each test."""

from __future__ import annotations

import asyncio
import atexit
import json
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests import peers


class _Host:
    """tests/peers/host.js; it ends when its input does."""

    def __init__(self) -> None:
        node = peers.program("node")
        assert node is not None, "node is not installed"
        self._folder = tempfile.TemporaryDirectory(prefix="plantbridge-node-")
        self.path = str(Path(self._folder.name) / "socket")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # stop() closes it
        with socket.socket(socket.AF_UNIX) as listening:  # bound here: who connects early waits in its queue
            listening.bind(self.path)
            listening.listen()
            self._process = subprocess.Popen(
                [node, "host.js", str(listening.fileno())],
                cwd=peers.PEERS,
                stdin=subprocess.PIPE,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[listening.fileno()],
            )

    @property
    def is_up(self) -> bool:
        return self._process.poll() is None

    def complaint(self) -> str:
        """The end of what it printed."""
        self._said.seek(0)
        return self._said.read()[-4000:].decode(errors="replace")

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()
        self._folder.cleanup()


_hosts: list[_Host] = []


def _host() -> _Host:
    """The one of this process, or another where a test brought it down."""
    if not _hosts or not _hosts[-1].is_up:
        _hosts.append(_Host())
        atexit.register(_hosts[-1].stop)
    return _hosts[-1]


class NodePeer:
    """One client: lines of JSON in, lines of JSON out."""

    def __init__(self, host: _Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    def say(self, wish: Any) -> None:
        self._writer.write(json.dumps(wish).encode() + b"\n")

    async def line(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            text = await self._reader.readline()
        assert text, f"the client ended without an answer: {self._host.complaint()}"
        found: dict[str, Any] = json.loads(text)
        return found

    async def close(self) -> None:
        """It leaves as clients do."""
        self._writer.write_eof()
        try:
            async with asyncio.timeout(30):
                await self._reader.read()
        finally:
            self._writer.close()
            await self._writer.wait_closed()


@asynccontextmanager
async def node_peer(script: str, plan: dict[str, Any]) -> AsyncIterator[NodePeer]:
    """A script of tests/peers that is run by host.js, at work on its plan."""
    host = _host()
    peer = NodePeer(host, *await asyncio.open_unix_connection(host.path, limit=peers.LONGEST_LINE))
    peer.say({"script": script, "plan": plan})
    try:
        yield peer
    finally:
        await peer.close()


__all__ = ["NodePeer", "node_peer"]
