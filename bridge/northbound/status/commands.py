"""Commands through the admin API.

POST /api/v1/commands               {"target", "value" | "args", "user"?}; answers when the command has ended
GET  /api/v1/commands?limit=&machine=&dead=   the newest first
GET  /api/v1/commands/{id}          one command with its whole life
POST /api/v1/commands/{id}/retry    send a dead letter again, as a new command; try a kept booking now
POST /api/v1/commands/{id}/discard  put a dead letter, or a kept booking, aside; {"reason"}
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge.model.command import Command, Door, ItemOutcome, Outcome, Role
from bridge.northbound.status.body import json_answer, read_body
from bridge.northbound.status.payload import plain

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.northbound.status.session import Principal
    from bridge.ports import Clock, Operations, Submit

EXPIRY = timedelta(seconds=30)
MOST = 1000

Handler = Callable[["Request"], Awaitable[Response]]


class CommandRoutes:
    """The routes about commands."""

    def __init__(self, operations: Operations, clock: Clock, submit: Submit | None) -> None:
        self._operations = operations
        self._clock = clock
        self._submit = submit

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        """Method, path, handler and least role of each. An id is its caller's: it may have slashes."""
        yield "GET", "/api/v1/commands", self._list, Role.OBSERVER
        yield "POST", "/api/v1/commands", self._send, Role.OPERATOR
        yield "GET", "/api/v1/commands/{id:path}", self._show, Role.OBSERVER
        yield "POST", "/api/v1/commands/{id:path}/retry", self._retry, Role.OPERATOR
        yield "POST", "/api/v1/commands/{id:path}/discard", self._discard, Role.OPERATOR

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        limit = asked.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 5 and 1 <= int(limit) <= MOST):
            raise HTTPException(400, f"limit must be 1 to {MOST}")
        found = await self._operations.commands(int(limit), asked.get("machine", ""), asked.get("dead") == "true")
        return json_answer({"commands": [plain(dict(entry)) for entry in found]})

    async def _show(self, request: Request) -> Response:
        entry = await self._operations.command(request.path_params["id"])
        if entry is None:
            where = "plantbridge commands list, or GET /api/v1/commands"
            raise HTTPException(404, f"there is no command with this id; list them: {where}")
        return json_answer(plain(dict(entry)))

    async def _send(self, request: Request) -> Response:
        body = await read_body(request)
        target, arguments = body.get("target"), body.get("args")
        if not isinstance(target, str) or not target:
            raise HTTPException(400, 'expected {"target": "<tag id>", "value": …} or {"target": …, "args": {…}}')
        if arguments is None:
            arguments = {"value": body["value"]} if "value" in body else {}
        if not isinstance(arguments, dict) or any(isinstance(value, dict | list) for value in arguments.values()):
            raise HTTPException(400, "args must be an object of plain values")
        if self._submit is None:
            raise HTTPException(503, "no commands are taken now")
        now = self._clock.now()
        asker: Principal = request.state.who
        who = asker.user or str(body.get("user") or asker.name)[:64]
        command = Command(
            f"admin:{uuid.uuid4()}", target, arguments, Door.ADMIN, who, now, now + EXPIRY, asker.role, user=asker.user
        )
        outcome = await self._submit(command).result
        return json_answer({"id": command.id, **outcome_payload(outcome)})

    async def _retry(self, request: Request) -> Response:
        asker: Principal = request.state.who
        outcome = await _found(self._operations.retry(request.path_params["id"], asker.name, asker.role))
        return json_answer(outcome_payload(outcome))

    async def _discard(self, request: Request) -> Response:
        reason = str((await read_body(request)).get("reason", ""))[:200]
        asker: Principal = request.state.who
        await _found(self._operations.discard(request.path_params["id"], asker.name, reason))
        return json_answer({"discarded": request.path_params["id"]})


def outcome_payload(outcome: Outcome) -> dict[str, Any]:
    """How a command ended."""
    return {
        "result": outcome.result.value,
        "status": outcome.status.name,
        "sentence": outcome.sentence,
        "actual": plain(outcome.actual),
        "vendor_code": outcome.vendor_code,
        "vendor_text": outcome.vendor_text,
        "items": [_item(item) for item in outcome.items],
    }


def _item(item: ItemOutcome) -> dict[str, Any]:
    return {
        "target": item.target,
        "value": plain(item.value),
        "result": item.result.value,
        "sentence": item.sentence,
        "actual": plain(item.actual),
    }


async def _found(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except KeyError:
        where = "plantbridge commands list, or GET /api/v1/commands"
        raise HTTPException(404, f"no dead letter and no kept booking has this id; list them: {where}") from None
