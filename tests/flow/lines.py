"""A peer program that answers a line with a line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from tests import peers


class LinePeer:
    """A node script of tests/peers: `await ask(line)` gives the decoded JSON of its answer."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._script = script
        self._arguments = arguments
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> LinePeer:
        self._process = await peers.start_node(self._script, *self._arguments)
        assert await self._read() == {"ready": True}
        return self

    async def __aexit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()

    async def ask(self, line: str) -> Any:
        """Send one line, wait for one."""
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
            return await self._read()

    async def _read(self) -> Any:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(30):
            while True:
                line = await self._line(self._process.stdout)
                if line.startswith(b">"):
                    return json.loads(line[1:])
                if not line:
                    complaint = (await self._process.stderr.read()).decode()
                    raise AssertionError(f"{self._script} ended: {complaint}")

    @staticmethod
    async def _line(stream: asyncio.StreamReader) -> bytes:
        """A line of any length; what does not begin with ">" is the library talking to itself."""
        chunks = []
        while True:
            try:
                return b"".join((*chunks, await stream.readuntil(b"\n")))
            except asyncio.LimitOverrunError as error:
                chunks.append(await stream.read(error.consumed))
            except asyncio.IncompleteReadError as error:
                return b"".join((*chunks, error.partial))
