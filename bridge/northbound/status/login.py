"""Logging in at a browser.

GET  /api/v1/session   nobody   {"user", "role"} of who is logged in, or null; what /readyz says; faults of the start
POST /api/v1/login     nobody   {"token"} or {"user", "password"}; answers with a cookie
POST /api/v1/logout    anybody  ends the session
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge.model.command import Role
from bridge.northbound.status.body import read_body
from bridge.northbound.status.session import ADMIN, Principal

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.northbound.status.guard import Guard
    from bridge.northbound.status.session import Logins
    from bridge.ports import Operations

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class LoginRoutes:
    """The routes of logging in; they check the Host themselves, because nobody is known yet."""

    def __init__(self, operations: Operations, guard: Guard, logins: Logins) -> None:
        self._operations = operations
        self._guard = guard
        self._logins = logins

    async def session(self, request: Request) -> Response:
        """Who is logged in, and what a page needs before anybody is."""
        self._guard.check_host(request)
        return self._told(self._guard.who(request))

    async def log_in(self, request: Request) -> Response:
        """Begin a session."""
        self._guard.check_host(request)
        self._guard.check_origin(request)
        body = await read_body(request)
        principal = await self._principal(body, request)
        if principal is None:
            raise HTTPException(401, _WRONG["token" if "token" in body else "password"])
        response = self._told(principal)
        self._guard.log_in(request, response, principal.user)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        self._guard.check_host(request)
        self._guard.check_origin(request)
        response = self._told(None)
        self._guard.log_out(request, response)
        return response

    async def _principal(self, body: dict[str, Any], request: Request) -> Principal | None:
        if "token" in body:
            return Principal(Role.ENGINEER) if self._guard.is_token(str(body["token"])) else None
        user, password = str(body.get("user", "")), str(body.get("password", ""))
        peer = request.client.host if request.client else ""
        role = await self._logins.verify(user, password, peer) if user and user != ADMIN else None
        return Principal(role, user) if role else None

    def _told(self, principal: Principal | None) -> Response:
        health = self._operations.health()
        body = {
            "user": principal.name if principal else None,
            "role": principal.role.value if principal else None,
            "has_users": self._logins.any,
            "version": health.version,
            "ready": health.ready,
            "why_not_ready": list(health.why_not_ready),
            "faults": list(health.refused) if not health.configuration else [],
        }
        return Response(orjson.dumps(body), headers=_HEADERS, media_type="application/json")


_WRONG = {
    "token": "this is not the admin token of this bridge; it is in the file admin.token of its state directory",
    "password": "user name or password is wrong, or it was wrong too often: then wait a minute",
}
