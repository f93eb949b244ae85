"""The admin API: routes and what they answer. Errors are JSON: `{"error": "not_found", "detail": "…"}`.

Nobody has to say who they are for the first six; the rest wants the admin token, or the cookie of a login, and a role.

GET  /                      the status page; its parts are below /page/
GET  /healthz               200 the process lives
GET  /readyz                200 or 503 with why_not_ready
GET  /metrics               Prometheus text
GET  /api/v1/session        who is logged in; POST /api/v1/login, /api/v1/logout (see login.py)

GET  /api/v1/health         health, sources, faces, refused configuration
GET  /api/v1/tags?q=GLOB…   tags with value, status, age, addresses
GET  /api/v1/tags/{id}      one tag, and where its value comes from
GET  /api/v1/why?tag=ADDRESS   the same, by id or by the tag's address on any face
GET  /api/v1/machines/{id}/plc?dialect=scl|st&command=NAME…   declarations for a PLC, as text
GET  /api/v1/docs/{nodeset|tags|ignition|flow|asyncapi}?connection=NAME     the plant for engineering tools, as text
GET  /api/v1/drift           fields of vendors' answers that are new, gone or of another kind since the start
GET  /api/v1/outline         plant, addresses and settings, to compare a changed configuration with; an Engineer
GET  /api/v1/stream?q=GLOB… server-sent events (see stream.py)
GET  /api/v1/record?source=NAME…&machine=ID…&keep_hosts=true&anonymous=true   what sources publish, as lines
GET  /api/v1/events?limit=N the newest events first
GET  /api/v1/screen?q=WORDS&only=bad,uncertain&offset=N&limit=N&pin=ID&view=NAME   server-sent events (see screen.py)
POST /api/v1/reload         read the configuration again; an Engineer
     /api/v1/commands…      see commands.py
     /api/v1/alarms…        see alarms.py
     /api/v1/todo, /api/v1/certificates…, /api/v1/found…   see people.py
     /api/v1/log…           see logs.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bridge.errors import HistoryUnreadable, NotDeclared, NotRecordable
from bridge.model.command import Role
from bridge.northbound.status.alarms import AlarmRoutes
from bridge.northbound.status.commands import CommandRoutes
from bridge.northbound.status.exposition import CONTENT_TYPE, exposition
from bridge.northbound.status.filter import TagFilter
from bridge.northbound.status.login import LoginRoutes
from bridge.northbound.status.logs import LogRoutes
from bridge.northbound.status.overview import Overview
from bridge.northbound.status.page import Page
from bridge.northbound.status.payload import event_payload, health_payload, instant, plain, tag_payload
from bridge.northbound.status.people import PeopleRoutes
from bridge.northbound.status.screen import WIDEST, Dropped, PatientStream, Screen, Shown
from bridge.northbound.status.search import Search
from bridge.northbound.status.session import NoLogins
from bridge.northbound.status.stream import PORTION, TagStream, portions
from bridge.ports import RecordingWish

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from bridge.model.tag import Tag
    from bridge.northbound.status.guard import Guard
    from bridge.northbound.status.session import Logins
    from bridge.ports import Clock, Operations, Submit, TagView

MAX_STREAMS = 16
"""Streams at once; each costs at most one plant of memory."""

MAX_EVENTS = 1000
TREND = timedelta(minutes=10)
MOST_POINTS = 1000

Handler = Callable[["Request"], Awaitable[Response]]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class AdminApi:
    """Answers requests about one bridge.

    Args:
        view: the tags.
        operations: what the bridge can tell and do.
        clock: time.
        guard: who may ask.
        stopping: done when the server stops.
        submit: takes commands; None where none are taken.
        logins: who may log in by name and password.
    """

    def __init__(
        self,
        view: TagView,
        operations: Operations,
        clock: Clock,
        guard: Guard,
        stopping: asyncio.Future[None],
        submit: Submit | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._commands = CommandRoutes(operations, clock, submit)
        self._alarms = AlarmRoutes(operations)
        self._people = PeopleRoutes(operations)
        self._logs = LogRoutes(operations)
        self._view = view
        self._operations = operations
        self._clock = clock
        self._guard = guard
        self._stopping = stopping
        self._streams = 0
        self._numbers = count(1)
        self._page = Page()
        self._login = LoginRoutes(operations, guard, logins or NoLogins())
        self._overview = Overview(view, operations, clock)
        self._dropped = Dropped()

    def application(self) -> Starlette:
        """The routes as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._for_anybody(self._page.index)),
                Route("/page/{name}", self._for_anybody(self._page.file)),
                Route("/healthz", self._for_anybody(self._live)),
                Route("/readyz", self._for_anybody(self._ready)),
                Route("/metrics", self._for_anybody(self._metrics)),
                Route("/api/v1/session", self._login.session),
                Route("/api/v1/login", self._login.log_in, methods=["POST"]),
                Route("/api/v1/logout", self._login.log_out, methods=["POST"]),
                Route("/api/v1/health", self._for(self._health)),
                Route("/api/v1/tags", self._for(self._tags)),
                Route("/api/v1/tags/{id}", self._for(self._tag)),
                Route("/api/v1/tags/{id}/trend", self._for(self._trend)),
                Route("/api/v1/why", self._for(self._why)),
                Route("/api/v1/machines/{id}/plc", self._for(self._plc)),
                Route("/api/v1/docs/{kind}", self._for(self._document)),
                Route("/api/v1/drift", self._for(self._drift)),
                Route("/api/v1/outline", self._for(self._outline, Role.ENGINEER)),
                Route("/api/v1/stream", self._for(self._stream)),
                Route("/api/v1/screen", self._for(self._screen)),
                Route("/api/v1/record", self._for(self._record, Role.ENGINEER)),
                Route("/api/v1/events", self._for(self._events)),
                Route("/api/v1/reload", self._for(self._reload, Role.ENGINEER), methods=["POST"]),
                *(
                    Route(path, self._for(handler, role), methods=[verb])
                    for verb, path, handler, role in self._others()
                ),
            ],
            exception_handlers={HTTPException: _refused, Exception: _failed},
        )

    def _others(self) -> Iterator[tuple[str, str, Handler, Role]]:
        yield from self._commands.routes()
        yield from self._alarms.routes()
        yield from self._people.routes()
        yield from self._logs.routes()

    def _for_anybody(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            self._guard.check_host(request)
            return await handler(request)

        return guarded

    def _for(self, handler: Handler, role: Role = Role.OBSERVER) -> Handler:
        async def guarded(request: Request) -> Response:
            self._guard.check_host(request)
            request.state.who = self._guard.admit(request, role)
            return await handler(request)

        return guarded

    async def _live(self, _: Request) -> Response:
        health = self._operations.health()
        return _json({"live": health.live, "version": health.version}, 200 if health.live else 503)

    async def _ready(self, _: Request) -> Response:
        health = self._operations.health()
        body = {"ready": health.ready, "why_not_ready": list(health.why_not_ready)}
        return _json(body, 200 if health.ready else 503)

    async def _metrics(self, _: Request) -> Response:
        text = exposition(self._operations.health(), self._own_metrics())
        return Response(text, media_type=CONTENT_TYPE, headers=_HEADERS)

    def _own_metrics(self) -> dict[str, float]:
        return {
            "status_views": self._streams,
            "status_views_dropped_total": self._dropped.total,
            "status_sessions": self._guard.sessions,
        }

    async def _health(self, _: Request) -> Response:
        return _json(health_payload(self._operations.health()))

    async def _tags(self, request: Request) -> Response:
        wanted = _filter(request)
        tags = [tag for machine in self._view.plant.everything() for tag in machine.tags if wanted(tag)]
        return StreamingResponse(self._listed(tags), media_type="application/json", headers=_HEADERS)

    async def _listed(self, tags: list[Tag]) -> AsyncIterator[bytes]:
        """`{"tags": […]}` in portions, so that a big plant does not hold up the loop."""
        values, now = self._view.snapshot(), self._clock.now()
        separator = b'{"tags":['
        for portion in portions((tag for tag in tags if tag.slot in values), PORTION):
            entries = [self._addressed(tag, tag_payload(tag, values[tag.slot], now)) for tag in portion]
            yield separator + orjson.dumps(entries)[1:-1]
            separator = b","
            await asyncio.sleep(0)
        yield b"]}" if separator == b"," else b'{"tags":[]}'

    def _addressed(self, tag: Tag, payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "addresses": dict(self._operations.addresses(tag))}

    async def _tag(self, request: Request) -> Response:
        return self._explained(self._view.plant.find(request.path_params["id"]))

    async def _why(self, request: Request) -> Response:
        return self._explained(await self._find(request.query_params.get("tag", "")))

    async def _find(self, address: str) -> Tag | None:
        """The tag of this id, or with this address on any face. In portions: a big plant has many addresses."""
        plant = self._view.plant
        tag = plant.find(address) or plant.find(address.rpartition(";s=")[2])
        if tag is not None or not address:
            return tag
        for portion in portions((tag for machine in plant.everything() for tag in machine.tags), PORTION):
            for tag in portion:
                if address in self._operations.addresses(tag).values():
                    return tag
            await asyncio.sleep(0)
        return None

    def _explained(self, tag: Tag | None) -> Response:
        if tag is None:
            raise HTTPException(
                404, "there is no tag with this id or address; plantbridge tags, or /api/v1/tags?q=…, finds it"
            )
        payload = self._addressed(tag, tag_payload(tag, self._view.read(tag), self._clock.now()))
        return _json({**payload, "explain": plain(self._operations.explain(tag))})

    async def _trend(self, request: Request) -> Response:
        """What a tag with `history: true` has been lately: [time, value], the oldest first; none if not kept."""
        tag, history = self._view.plant.find(request.path_params["id"]), self._view.history
        if tag is None or history is None or not tag.definition.history:
            return _json({"values": []})
        start = self._clock.now() - TREND
        try:
            page = await history.query(tag.id, start, newest_first=True, limit=MOST_POINTS)
        except HistoryUnreadable as error:
            raise HTTPException(503, str(error)) from None
        points = [[instant(one.value.source_timestamp), one.value.value] for one in reversed(page.values)]
        return _json({"values": points})

    async def _plc(self, request: Request) -> Response:
        asked = request.query_params
        machine, dialect, commands = request.path_params["id"], asked.get("dialect", ""), asked.getlist("command")
        try:
            text = self._operations.plc_source(machine, dialect, commands)
        except NotDeclared as error:
            raise HTTPException(404, str(error)) from None
        return Response(text, media_type="text/plain", headers=_HEADERS)

    async def _document(self, request: Request) -> Response:
        asked = request.query_params
        try:
            text = await self._operations.document(request.path_params["kind"], asked.get("connection", ""))
        except NotDeclared as error:
            raise HTTPException(404, str(error)) from None
        return Response(text, media_type="text/plain", headers=_HEADERS)

    async def _drift(self, _: Request) -> Response:
        return _json({"findings": [plain(found) for found in self._operations.drift()]})

    async def _outline(self, _: Request) -> Response:
        return _json(dict(await self._operations.outline()))

    async def _stream(self, request: Request) -> Response:
        wanted = _filter(request)
        if self._streams >= MAX_STREAMS:
            raise HTTPException(503, f"{MAX_STREAMS} streams are open already")
        name = f"status-stream-{next(self._numbers)}"
        stream = TagStream(self._view, self._clock, name, wanted, self._stopping)
        return StreamingResponse(
            self._while_counted(request, stream.events()), media_type="text/event-stream", headers=_HEADERS
        )

    async def _screen(self, request: Request) -> Response:
        shown, view = _shown(request), request.query_params.get("view", "")[:40]
        if self._streams >= MAX_STREAMS:
            raise HTTPException(503, f"{MAX_STREAMS} views are open already; close one")
        screen = Screen(self._view, self._operations, self._overview, self._clock, shown, self._stopping)
        events = screen.events(f"status-screen-{next(self._numbers)}", self._dropped.word_for(view))
        return PatientStream(self._while_counted(request, events), _HEADERS, self._dropped, view)

    async def _while_counted(self, request: Request, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for event in events:
                if not self._guard.is_still(request, Role.OBSERVER):
                    return
                yield event
        finally:
            self._streams -= 1

    async def _record(self, request: Request) -> Response:
        asked = request.query_params
        wish = RecordingWish(
            tuple(asked.getlist("source")), tuple(asked.getlist("machine")), _is_set(asked, "keep_hosts"),
            _is_set(asked, "anonymous"),
        )  # fmt: skip
        try:
            lines = self._operations.record(wish)
        except NotRecordable as error:
            raise HTTPException(404, str(error)) from None
        return StreamingResponse(
            self._until_stopped(request, lines), media_type="application/x-ndjson", headers=_HEADERS
        )

    async def _until_stopped(self, request: Request, lines: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        async with aclosing(lines):
            async for portion in lines:
                yield portion
                if self._stopping.done() or not self._guard.is_still(request, Role.ENGINEER):
                    return

    async def _events(self, request: Request) -> Response:
        limit = _limit(request.query_params.get("limit", "100"))
        events = await self._operations.events(limit)
        return _json({"events": [event_payload(event) for event in events]})

    async def _reload(self, _: Request) -> Response:
        faults = list(await self._operations.reload())
        if faults:
            return _json({"error": "refused", "detail": "the running configuration stays", "faults": faults}, 422)
        return _json({"faults": []})


def _json(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, {**_HEADERS, **(headers or {})}, "application/json")


def _filter(request: Request) -> TagFilter:
    try:
        return TagFilter(*filter(None, request.query_params.getlist("q")))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _shown(request: Request) -> Shown:
    asked = request.query_params
    numbers = [asked.get(name, "0") for name in ("offset", "limit")]
    if not all(text.isascii() and text.isdigit() and len(text) <= 7 for text in numbers) or int(numbers[1]) > WIDEST:
        raise HTTPException(400, f"offset and limit must be numbers, limit at most {WIDEST}")
    only = frozenset(filter(None, asked.get("only", "").split(",")))
    try:
        return Shown(Search(asked.get("q", "")), only, int(numbers[0]), int(numbers[1]), asked.get("pin", "")[:200])
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_EVENTS):
        raise HTTPException(400, f"limit must be 1 to {MAX_EVENTS}")
    return int(text)


def _is_set(asked: QueryParams, name: str) -> bool:
    return asked.get(name, "false") == "true"


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    word = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return _json({"error": word, "detail": error.detail}, error.status_code, dict(error.headers or {}))


async def _failed(_: Request, error: Exception) -> Response:
    return _json({"error": "internal_server_error", "detail": type(error).__name__}, 500)
