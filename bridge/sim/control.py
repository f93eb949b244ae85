"""Switches of a simulator for another process: a loopback port of its own, nothing like the vendor's.

GET  /_sim/faults            what can be switched
POST /_sim/faults/<name>     {"argument": value, ...} -> {"result": ...}
GET  /_sim/<view>            what the simulator shows of itself: status, journal, ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from bridge.sim.faults import faults_of
from bridge.sim.front import Front

HOST = "127.0.0.1"

View = Callable[[], Any]


class Control:
    """The control port of one simulator.

    Args:
        name: Whose it is, for AddressTaken.
        switches: The simulator's fault object; a method may be a coroutine function.
        views: What can be looked at, by the last part of the path.
        port: 0 takes a free one.
    """

    def __init__(self, name: str, switches: object, views: Mapping[str, View], port: int) -> None:
        self._switches = switches
        self._faults = faults_of(type(switches))
        self._views = {"faults": self._listed, **views}
        self._front = Front(name, HOST, port, self._serve)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._front.port}/_sim"

    async def start(self) -> None:
        """Listen. Raises AddressTaken."""
        await self._front.start()

    async def stop(self) -> None:
        """Free the port."""
        await self._front.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/_sim/")
        if request.method == "POST" and path.startswith("faults/"):
            return await self._switch(request, path.removeprefix("faults/"))
        view = self._views.get(path)
        if request.method != "GET" or view is None:
            return _json({"error": "unknown", "known": sorted(self._views)}, 404)
        return _json(view())

    async def _switch(self, request: web.Request, name: str) -> web.Response:
        if name not in self._faults:
            return _json({"error": f"no fault {name!r}", "known": sorted(self._faults)}, 404)
        try:
            body = await request.read()
            arguments = orjson.loads(body) if body else {}
            result = getattr(self._switches, name)(**arguments)
            if inspect.isawaitable(result):
                result = await result
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            return _json({"error": str(error), "arguments": dict(self._faults[name].arguments)}, 400)
        return _json({"result": result})

    def _listed(self) -> Any:
        return {"faults": [{**asdict(fault), "arguments": dict(fault.arguments)} for fault in self._faults.values()]}


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
