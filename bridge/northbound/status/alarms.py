"""Alarms through the admin API.

GET  /api/v1/alarms                     what is active or not acknowledged, the newest first
POST /api/v1/alarms/{id}/acknowledge    {"comment"?, "user"?}; 404 where there is none, 409 where somebody was first
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from bridge.model.command import Role
from bridge.northbound.status.body import json_answer, read_body
from bridge.northbound.status.payload import instant

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bridge.model.alarm import AlarmCondition
    from bridge.northbound.status.commands import Handler
    from bridge.northbound.status.session import Principal
    from bridge.ports import Operations


class AlarmRoutes:
    """The routes about alarms."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        """Method, path, handler and least role of each."""
        yield "GET", "/api/v1/alarms", self._list, Role.OBSERVER
        yield "POST", "/api/v1/alarms/{id:path}/acknowledge", self._acknowledge, Role.OPERATOR

    async def _list(self, _: Request) -> Response:
        found = sorted(self._operations.alarms(), key=lambda one: one.since, reverse=True)
        return json_answer({"alarms": [alarm_payload(one) for one in found]})

    async def _acknowledge(self, request: Request) -> Response:
        identifier, body = request.path_params["id"], await read_body(request)
        asker: Principal = request.state.who
        comment, who = body.get("comment"), asker.user or str(body.get("user") or asker.name)[:64]
        if not (comment is None or isinstance(comment, str)):
            raise HTTPException(400, "comment must be a text")
        known = {one.id: one for one in self._operations.alarms()}
        if identifier not in known:
            where = "plantbridge alarms list, or GET /api/v1/alarms"
            raise HTTPException(404, f"no alarm with this id is active or waits for somebody; list them: {where}")
        if not self._operations.acknowledge(identifier, who, comment):
            raise HTTPException(409, f"{known[identifier].acked_by} has acknowledged it already")
        return json_answer({"acknowledged": identifier})


def alarm_payload(alarm: AlarmCondition) -> dict[str, Any]:
    """An alarm as it is."""
    return {
        "id": alarm.id,
        "kind": alarm.kind.value,
        "machine": alarm.machine,
        "name": alarm.name,
        "tag": alarm.tag,
        "message": alarm.message,
        "active": alarm.active,
        "level": alarm.level,
        "severity": alarm.severity,
        "since": instant(alarm.since),
        "acked": alarm.acked,
        "acked_by": alarm.acked_by,
        "comment": alarm.comment,
        "commented_by": alarm.commented_by,
        "limits": dict(alarm.limits),
    }
