"""node-opcua with people logged in: who does what, and what each was answered, whatever the order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import Any

from tests import peers
from tests.northbound.opcua.house import identity

PATIENCE_S = 30.0


class OpcuaPeer:
    """One process of tests/peers/opcua_commander.js. A person is "<user>", in another session "<user>#<session>"."""

    def __init__(self, url: str, password: str) -> None:
        client = identity("commander")
        self._plan = {
            "url": url,
            "password": password,
            "certificate": str(client.certificate_file),
            "key": str(client.key_file),
            "applicationUri": client.uri,
            "store": str(client.folder / "store"),
        }
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process
        self._listening: asyncio.Task[None]

    async def __aenter__(self) -> OpcuaPeer:
        self._process = await peers.start_node("opcua_commander.js", json.dumps(self._plan))
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[0] = ready
        self._listening = asyncio.create_task(self._listen(), name="opcua peer")
        async with asyncio.timeout(PATIENCE_S):
            await ready
        return self

    async def __aexit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._listening
        await self._process.communicate()

    async def ask(self, who: str, what: str, given: Any) -> Any:
        """One thing somebody does; what they were answered. Raises RuntimeError with the library's error."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "as": who, what: given}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def write(self, who: str, *items: tuple[str, str, Any]) -> list[tuple[str, int]]:
        """(node, type, value) each, in one request; name and number of each status."""
        return [(name, code) for name, code in await self.ask(who, "write", items)]

    async def read(self, who: str, *nodes: str) -> list[Any]:
        """The values, None where there is none."""
        return [one["value"] for one in await self.ask(who, "read", nodes)]

    async def vanish(self, who: str) -> None:
        """Reset the connections, and end without a word."""
        asking = asyncio.ensure_future(self.ask(who, "vanish", True))
        async with asyncio.timeout(PATIENCE_S):
            await self._listening
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.startswith(b">"):  # the library talks to itself
                continue
            said = json.loads(line[1:])
            answer = self._asked.pop(said.get("id", 0), None)
            if answer is None or answer.done():
                continue
            if "error" in said:
                answer.set_exception(RuntimeError(said["error"]))
            else:
                answer.set_result(said.get("answer"))


__all__ = ["OpcuaPeer"]
