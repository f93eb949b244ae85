"""The panel's REST interface, with its error shapes (recorded from 2.17.0; 3.x from its source).

A 200 means that a message was queued, nothing more. On 3.x the per-machine routes are traps: a GET answers 404 and
kills the process, a POST applies the first mutation and answers 404.
"""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import hdrs, web

from bridge.sim.qitech.backend import Backend, describe
from bridge.sim.qitech.body import Rejected, json_body, list_body, mutation_of
from bridge.sim.qitech.catalogue import MACHINE_IDS, Identity
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.mailbox import Died
from bridge.sim.qitech.serde import Panic
from bridge.sim.qitech.sessions import u16

_MACHINE_PATH = re.compile(r"/api/v2/machine/([^/]+)/([^/]+)")
_UNKNOWN_MACHINE = "Unknown machine!"


class Rest:
    """Routes of one life of the process."""

    def __init__(self, backend: Backend, forbidden: Callable[[str], None]) -> None:
        self._backend = backend
        self._forbidden = forbidden

    async def serve(self, request: web.Request, body: bytes | None) -> web.StreamResponse:
        """Answer one request. Raises Died when the process dies meanwhile."""
        delay = self._backend.settings.reply_delay_s
        if delay > 0.0 and not (request.method == "GET" and _MACHINE_PATH.fullmatch(request.path)):
            await asyncio.sleep(delay)  # a machine's GET is delayed where the real one waits: for the machine's reply
        try:
            return await self._route(request, body)
        except Rejected as rejected:
            return _text(rejected.status, rejected.message)

    async def _route(self, request: web.Request, body: bytes | None) -> web.StreamResponse:
        path = request.path
        if path == "/api/v2/machine":
            return self._allow(request, "GET,HEAD") or self._list(request)
        if path == "/api/v1/machine/mutate":
            return self._allow(request, "POST") or await self._mutate(json_body(request, body))
        if path == "/api/v1/write_machine_device_identification":
            return self._allow(request, "POST") or self._write_identification(request)
        if path in _METRICS and self._backend.release.major == 2:
            return self._allow(request, "GET,HEAD") or _json(_METRICS[path](self._backend))
        match = _MACHINE_PATH.fullmatch(path)
        if match is not None and match[1] in self._backend.release.routed:
            return self._allow(request, "GET,HEAD,POST") or await self._machine(request, body, match[1], match[2])
        return web.Response(status=404)

    @staticmethod
    def _allow(request: web.Request, methods: str) -> web.Response | None:
        if request.method in methods.split(","):
            return None
        return web.Response(status=200 if request.method == "OPTIONS" else 405, headers={hdrs.ALLOW: methods})

    def _list(self, request: web.Request) -> web.StreamResponse:
        try:
            return _json({"machines": self._backend.listing()})
        except Panic as panic:
            if self._backend.release.major == 2:
                self._backend.die(str(panic))
                raise Died from panic
            if request.transport is not None:  # 3.x: only this connection's task panics
                request.transport.abort()
            return web.Response(status=500)

    async def _machine(
        self, request: web.Request, body: bytes | None, slug: str, serial_text: str
    ) -> web.StreamResponse:
        serial = u16(serial_text)
        if serial is None:
            raise Rejected(400, f"Invalid URL: Cannot parse `{serial_text}` to a `u16`")
        identity = Identity(MACHINE_IDS[slug], serial)
        if self._backend.release.major >= 3:
            self._forbidden(f"{request.method} {request.path}")
        if request.method == "POST":
            return await self._post(identity, list_body(request, body))
        machine = self._backend.find(identity.machine, identity.serial)
        if machine is None:
            return _not_found(self._reason(identity))
        if self._backend.release.major >= 3:
            return self._trap(machine)
        return await self._get(machine)

    def _reason(self, identity: Identity) -> str:
        machine = self._backend.machines.get(identity)
        return machine.error if machine is not None and machine.error else _UNKNOWN_MACHINE

    async def _get(self, machine: Machine) -> web.Response:
        try:
            answer = await self._backend.ask(machine)
        except Died:
            if not self._backend.alive:
                raise
            return _json({"error_internal": "channel closed"}, 500)
        # The vendor's serde_json sorts the keys of what comes from the machine, and writes NaN as null; so do we.
        sections = {
            name: orjson.Fragment(orjson.dumps(value, None, orjson.OPT_SORT_KEYS)) for name, value in answer.items()
        }
        return _json({"machine": describe(machine), **sections})

    def _trap(self, machine: Machine) -> web.Response:
        self._backend.panic(f"{machine.slug}: Failed to send values: GET on 3.x")
        return _not_found(_UNKNOWN_MACHINE)

    async def _post(self, identity: Identity, mutations: list[Any]) -> web.Response:
        if self._backend.release.major >= 3:
            for mutation in mutations[:1]:
                if self._backend.find(identity.machine, identity.serial) is not None:
                    await self._backend.send(identity, mutation)
                return _not_found(_UNKNOWN_MACHINE)
            return _json(None)
        for mutation in mutations:
            if self._backend.find(identity.machine, identity.serial) is None:
                return _not_found(self._reason(identity))
            await self._backend.send(identity, mutation)
        return _json(None)

    async def _mutate(self, body: Any) -> web.Response:
        identity, mutation = mutation_of(body)
        machine = self._backend.machines.get(identity)
        if identity not in self._backend.channels or (machine is not None and machine.is_forgotten):
            message = f"Machine api_mutate error No Machine found with id:  {identity}"
            return _json({"error": f"[server::rest::handlers::machine_mutation::_post_machine_mutate] {message}"}, 500)
        if machine is None or machine.error is None:
            try:
                await self._backend.send(identity, mutation)
            except Died:
                if not self._backend.alive:
                    raise
        return _json({"success": True, "error": None})

    def _write_identification(self, request: web.Request) -> web.Response:
        self._forbidden(f"{request.method} {request.path}")
        return _json({"success": True, "error": None})


def _process_metrics(_: Backend) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rss_bytes": usage.ru_maxrss * 1024,
        "cpu_time_seconds": usage.ru_utime + usage.ru_stime,
        "minor_faults": usage.ru_minflt,
        "major_faults": usage.ru_majflt,
    }


def _runtime_metrics(backend: Backend) -> dict[str, Any]:
    return {
        "timestamp_ms": backend.timestamp(),
        **_process_metrics(backend),
        "jitter_min_ns": 0,
        "jitter_avg_ns": 104513,
        "jitter_max_ns": 298440,
        "rx_rate_bytes_per_sec": 0.0,
        "tx_rate_bytes_per_sec": 0.0,
        "rt_nr_switches": 910,
        "rt_nr_voluntary_switches": 910,
        "rt_nr_involuntary_switches": 0,
    }


_METRICS: dict[str, Callable[[Backend], dict[str, Any]]] = {
    "/api/v1/metrics/process/metrics": _process_metrics,
    "/api/v1/metrics/runtime/latest": _runtime_metrics,
}


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def _not_found(reason: str) -> web.Response:
    return _json({"error_not_found": reason}, 404)


def _text(status: int, message: str) -> web.Response:
    return web.Response(text=message, status=status, content_type="text/plain", charset="utf-8")
