"""Switches of the simulator for another process: a loopback port of its own, nothing like the vendor's.

GET  /_sim/faults            what can be switched
POST /_sim/faults/<name>     {"argument": value, ...} -> {"result": ...}
GET  /_sim/status            url, running, crashes, forbidden requests, machines
GET  /_sim/journal           requests received, oldest first
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from bridge.sim.qitech.faults import FAULTS
from bridge.sim.qitech.front import Front

if TYPE_CHECKING:
    from bridge.sim.qitech.panel import Panel

HOST = "127.0.0.1"


class Control:
    """The control port of one panel."""

    def __init__(self, panel: Panel, port: int) -> None:
        self._panel = panel
        self._front = Front(HOST, port, self._serve, None)

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
        views = {"faults": self._faults, "status": self._status, "journal": self._journal}
        view = views.get(path)
        if request.method != "GET" or view is None:
            return _json({"error": "unknown", "known": sorted(views)}, 404)
        return _json(view())

    async def _switch(self, request: web.Request, name: str) -> web.Response:
        if name not in FAULTS:
            return _json({"error": f"no fault {name!r}", "known": sorted(FAULTS)}, 404)
        try:
            body = await request.read()
            arguments = orjson.loads(body) if body else {}
            result = getattr(self._panel.faults, name)(**arguments)
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            return _json({"error": str(error), "arguments": dict(FAULTS[name].arguments)}, 400)
        return _json({"result": result})

    def _faults(self) -> Any:
        return {"faults": [{**asdict(fault), "arguments": dict(fault.arguments)} for fault in FAULTS.values()]}

    def _status(self) -> Any:
        panel = self._panel
        return {
            "url": panel.url,
            "release": str(panel.release),
            "running": panel.running,
            "crashes": list(panel.crashes),
            "forbidden_requests": panel.forbidden_requests,
            "machines": [
                {"slug": machine.slug, "serial": identity.serial, "plugged": identity in panel.plugged}
                for identity, machine in panel.known.items()
            ],
        }

    def _journal(self) -> Any:
        return {
            "requests": [
                {"method": r.method, "path": r.path, "body": r.body.decode(errors="replace"), "when": r.when}
                for r in self._panel.journal
            ]
        }


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
