"""The bridge's log through the admin API.

GET  /api/v1/log           {"lines": [oldest first], "levels": {part: level}}
POST /api/v1/log-level     {"room": "opcua", "level": "debug"}; 422 for what there is not
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from bridge.errors import NotChanged
from bridge.model.command import Role
from bridge.northbound.status.body import json_answer, read_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bridge.northbound.status.commands import Handler
    from bridge.ports import Operations


class LogRoutes:
    """The routes about the log."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        """Method, path, handler and least role of each."""
        yield "GET", "/api/v1/log", self._lines, Role.ENGINEER
        yield "POST", "/api/v1/log-level", self._set, Role.ENGINEER

    async def _lines(self, _: Request) -> Response:
        return json_answer({"lines": list(self._operations.log()), "levels": dict(self._operations.log_levels())})

    async def _set(self, request: Request) -> Response:
        body = await read_body(request)
        try:
            self._operations.set_log_level(str(body.get("room", "all")), str(body.get("level", "")))
        except NotChanged as error:
            raise HTTPException(422, str(error)) from None
        return json_answer({"levels": dict(self._operations.log_levels())})
