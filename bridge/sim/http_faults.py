"""What can go wrong between a client and a vendor's HTTP server, as one plan per simulator.

    request -> faults before the commit -> the vendor's own code -> faults after the commit -> client

Before: latency, status, throttle, reset. After: latency, status and reset with `after_commit` (the effect has happened,
the client does not hear of it), and malformed, truncated, no_content, gzip. Of several that fit a request each takes
its turn in the order they were planned; one that ends the exchange leaves the later ones for the next request.
"""

from __future__ import annotations

import asyncio
import fnmatch
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web

Act = Callable[[web.Request, web.Response | None], Awaitable[web.StreamResponse | None]]
"""Given the request and, after the commit, the vendor's answer: what the client gets, or None to go on."""

MAX_PLANNED = 1000


class Dropped(Exception):
    """The connection is gone; there is nothing to answer."""


@dataclass(slots=True)
class Planned:
    """One fault and the requests it is for."""

    kind: str
    act: Act
    after_commit: bool
    method: str
    path: str
    skip: int
    count: int | None

    def takes(self, request: web.Request) -> bool:
        """Whether it strikes this request; counts it."""
        if self.count == 0 or self.method not in ("", request.method):
            return False
        if self.path and not fnmatch.fnmatchcase(request.path, self.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        return True


class FaultPlan:
    """The faults to come, in the order they were planned."""

    def __init__(self) -> None:
        self.date_skew_s = 0.0
        self._planned: list[Planned] = []

    def add(self, planned: Planned) -> None:
        """Put a fault at the end. Raises ValueError when the plan is full."""
        if len(self._planned) >= MAX_PLANNED:
            raise ValueError(f"{MAX_PLANNED} faults are planned already: clear them first")
        self._planned.append(planned)

    def clear(self) -> None:
        """Forget every fault."""
        self._planned.clear()
        self.date_skew_s = 0.0

    def as_json(self) -> list[dict[str, Any]]:
        """What is still to come."""
        return [
            {"kind": p.kind, "method": p.method, "path": p.path, "skip": p.skip, "count": p.count}
            for p in self._planned
        ]

    async def answer(self, request: web.Request, vendor: Callable[[], web.Response]) -> web.StreamResponse:
        """What the client gets instead of, or as, the vendor's answer. Raises Dropped when that is nothing."""
        early = await self._strike(request, None, after_commit=False)
        if early is not None:
            return early
        answer = vendor()
        return await self._strike(request, answer, after_commit=True) or answer

    async def _strike(
        self, request: web.Request, answer: web.Response | None, after_commit: bool
    ) -> web.StreamResponse | None:
        for planned in list(self._planned):
            if planned.after_commit == after_commit and planned.takes(request):
                if planned.count == 0:
                    self._planned.remove(planned)
                result = await planned.act(request, answer)
                if result is not None:
                    return result
        return None


class HttpFaults:
    """The switches that make the plan; a vendor's own switches are a subclass.

    Every switch takes `method` and `path` ("" for any; `*` in a path matches anything), `skip` (let so many matching
    requests pass) and `count` (strike so many; null: until `clear`).
    """

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def latency(
        self,
        seconds: float,
        method: str = "",
        path: str = "",
        skip: int = 0,
        count: int | None = None,
        after_commit: bool = False,
    ) -> None:
        """Let the client wait so many real seconds, before or after the request has had its effect."""

        async def act(request: web.Request, answer: web.Response | None) -> None:
            await asyncio.sleep(float(seconds))

        self._add("latency", act, after_commit, method, path, skip, count)

    def status(
        self,
        status: int,
        body: str = "",
        content_type: str = "text/html",
        method: str = "",
        path: str = "",
        skip: int = 0,
        count: int | None = 1,
        after_commit: bool = False,
    ) -> None:
        """Answer another status, as a proxy does; with `after_commit` the request has had its effect all the same."""
        if not 200 <= int(status) <= 599:
            raise ValueError(f"{status} is no status an answer can have: expected 200 to 599")

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            return web.Response(status=int(status), text=body, content_type=content_type)

        self._add("status", act, after_commit, method, path, skip, count)

    def throttle(
        self,
        retry_after: float | str | None = None,
        body: str = "",
        method: str = "",
        path: str = "",
        skip: int = 0,
        count: int | None = 1,
    ) -> None:
        """Answer 429; Retry-After in seconds or as a date, absent if null."""
        headers = {} if retry_after is None else {hdrs.RETRY_AFTER: str(retry_after)}

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            kind = "application/json" if body else "text/plain"
            return web.Response(status=429, text=body, headers=headers, content_type=kind)

        self._add("throttle", act, False, method, path, skip, count)

    def reset(
        self,
        method: str = "",
        path: str = "",
        skip: int = 0,
        count: int | None = 1,
        after_commit: bool = False,
    ) -> None:
        """Reset the connection without an answer, before or after the request has had its effect."""

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            _reset(request)
            raise Dropped

        self._add("reset", act, after_commit, method, path, skip, count)

    def malformed(self, method: str = "", path: str = "", skip: int = 0, count: int | None = 1) -> None:
        """Answer half of the JSON with a Content-Length that agrees with the half."""

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            body = _body(answer)
            return _with_body(answer, body[: len(body) // 2] or b"{")

        self._add("malformed", act, True, method, path, skip, count)

    def truncate(self, method: str = "", path: str = "", skip: int = 0, count: int | None = 1) -> None:
        """Announce the whole body, send half of it and close the connection."""

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            await _truncate(request, answer)
            raise Dropped

        self._add("truncate", act, True, method, path, skip, count)

    def no_content(self, method: str = "", path: str = "", skip: int = 0, count: int | None = 1) -> None:
        """Answer 204 without a body instead of what the vendor said."""

        async def act(request: web.Request, answer: web.Response | None) -> web.StreamResponse:
            return web.Response(status=204)

        self._add("no_content", act, True, method, path, skip, count)

    def gzip(self, method: str = "", path: str = "", skip: int = 0, count: int | None = None) -> None:
        """Compress the answer, also for a client that did not ask for it."""

        async def act(request: web.Request, answer: web.Response | None) -> None:
            if answer is not None:
                answer.enable_compression(web.ContentCoding.gzip)

        self._add("gzip", act, True, method, path, skip, count)

    def date_skew(self, seconds: float = 0.0) -> None:
        """Set the Date header wrong by so many seconds; 0 mends it."""
        self._plan.date_skew_s = float(seconds)

    def clear(self) -> None:
        """Forget every planned fault and mend the Date header."""
        self._plan.clear()

    def _add(
        self, kind: str, act: Act, after_commit: bool, method: str, path: str, skip: int, count: int | None
    ) -> None:
        self._plan.add(Planned(kind, act, bool(after_commit), method.upper(), path, int(skip), count))


def _body(answer: web.Response | None) -> bytes:
    body = answer.body if answer is not None else None
    return body if isinstance(body, bytes) else b""


def _with_body(answer: web.Response | None, body: bytes) -> web.Response:
    status, kind = (answer.status, answer.content_type) if answer is not None else (200, "application/json")
    return web.Response(status=status, body=body, content_type=kind)


async def _truncate(request: web.Request, answer: web.Response | None) -> None:
    body = _body(answer) or b"{}"
    short = web.StreamResponse(status=answer.status if answer is not None else 200)
    short.content_type = answer.content_type if answer is not None else "application/json"
    short.content_length = len(body)
    await short.prepare(request)
    await short.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    plain = transport.get_extra_info("socket")
    if plain is not None:  # without a linger time the kernel sends RST, not FIN
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
