"""What waits for a person, and what the person does about it.

GET  /api/v1/todo                                how much of each waits
GET  /api/v1/certificates                        of the OPC UA server and its clients
POST /api/v1/certificates/{thumbprint}/trust     an Engineer; also /distrust. 404 where there is none
GET  /api/v1/found                               machines that wait for adoption
POST /api/v1/found/adopt                         an Engineer; {"source", "key"}; 404 where it does not wait
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from bridge.model.command import Role
from bridge.northbound.status.body import json_answer, read_body
from bridge.northbound.status.payload import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from bridge.northbound.status.commands import Handler
    from bridge.northbound.status.session import Principal
    from bridge.ports import FoundWaiting, Operations

MOST_LETTERS: Final = 100
"""Dead letters that are counted; there are hardly ever two."""


class PeopleRoutes:
    """The routes about certificates and found machines."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        """Method, path, handler and least role of each."""
        yield "GET", "/api/v1/todo", self._todo, Role.OBSERVER
        yield "GET", "/api/v1/certificates", self._certificates, Role.OBSERVER
        yield "POST", "/api/v1/certificates/{thumbprint}/trust", self._trust, Role.ENGINEER
        yield "POST", "/api/v1/certificates/{thumbprint}/distrust", self._distrust, Role.ENGINEER
        yield "GET", "/api/v1/found", self._found, Role.OBSERVER
        yield "POST", "/api/v1/found/adopt", self._adopt, Role.ENGINEER

    async def _todo(self, _: Request) -> Response:
        kept = await self._operations.certificates()
        letters = await self._operations.commands(MOST_LETTERS, "", dead=True)
        return json_answer(
            {
                "alarms": sum(not alarm.acked for alarm in self._operations.alarms()),
                "dead_letters": len(letters),
                "certificates": sum(one["folder"] == "rejected" for one in kept),
                "machines": len(self._operations.found()),
            }
        )

    async def _certificates(self, _: Request) -> Response:
        return json_answer({"certificates": [dict(one) for one in await self._operations.certificates()]})

    async def _trust(self, request: Request) -> Response:
        thumbprint, asker = _asked(request)
        try:
            await self._operations.trust(thumbprint, asker.name)
        except KeyError:
            raise HTTPException(
                404, "no refused certificate has this thumbprint; list them: plantbridge certs list"
            ) from None
        return json_answer({"trusted": thumbprint})

    async def _distrust(self, request: Request) -> Response:
        thumbprint, asker = _asked(request)
        try:
            await self._operations.distrust(thumbprint, asker.name)
        except KeyError:
            raise HTTPException(
                404, "no trusted certificate has this thumbprint; list them: plantbridge certs list"
            ) from None
        return json_answer({"distrusted": thumbprint})

    async def _found(self, _: Request) -> Response:
        return json_answer({"machines": [_waiting(one) for one in self._operations.found()]})

    async def _adopt(self, request: Request) -> Response:
        body, asker = await read_body(request), request.state.who
        try:
            identifier = await self._operations.adopt(str(body.get("source")), str(body.get("key")), asker.name)
        except KeyError:
            raise HTTPException(
                404, "no found machine of this source and key waits; list them: GET /api/v1/found"
            ) from None
        return json_answer({"adopted": identifier})


def _asked(request: Request) -> tuple[str, Principal]:
    return request.path_params["thumbprint"], request.state.who


def _waiting(found: FoundWaiting) -> dict[str, Any]:
    return {
        "source": found.source,
        "key": found.key,
        "id": found.id,
        "identity": dict(found.identity),
        "first_seen": instant(found.first_seen),
        "mapping": found.mapping,
    }
