"""Who may ask: a Host header that is ours, and the admin token or a session's cookie.

The Host check is what keeps a web page from reading the API of a bridge on the same computer through a name it lets
point at 127.0.0.1 (DNS rebinding). There is no CORS header anywhere: no other origin may read an answer. The cookie is
SameSite=Strict, and what acts by it must come from a page of ours (Origin): no other page can act in its holder's name.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from bridge.model.command import Role
from bridge.northbound.status.host import host_name, is_loopback
from bridge.northbound.status.session import LASTS_S, Principal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr
    from starlette.requests import Request
    from starlette.responses import Response

    from bridge.northbound.status.session import Sessions

HARMLESS: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Refuses requests that are not for us, or not from somebody who may.

    Args:
        token: the admin token; must not be empty.
        host: the address we are bound to; on loopback, a request must name loopback or this address.
        sessions: who is logged in at a browser; None where nobody can.
        is_secure: HTTP goes through TLS, and so must the cookie.
        names: what a request may name as well, on loopback.
    """

    def __init__(
        self,
        token: SecretStr,
        host: str,
        sessions: Sessions | None = None,
        *,
        is_secure: bool = False,
        names: Iterable[str] = (),
    ) -> None:
        if not token.get_secret_value():
            raise ValueError("the admin token is empty")
        self._token = token
        self._names = {name.casefold() for name in (host, *names)}
        self._is_local = is_loopback(host)
        self._sessions = sessions
        self._is_secure = is_secure

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._sessions) if self._sessions is not None else 0

    def check_host(self, request: Request) -> None:
        """Raises HTTPException 421 for a Host that is not ours."""
        name = host_name(request.headers.get("host", ""))
        if self._is_local and name not in self._names and not is_loopback(name):
            raise HTTPException(421, "this Host is not served here")

    def admit(self, request: Request, role: Role = Role.OBSERVER) -> Principal:
        """Who asks. Raises HTTPException: 401 for nobody we know, 403 for who may not or comes from another page."""
        if "authorization" in request.headers:
            self._check_token(request)
            return Principal(Role.ENGINEER)
        principal = self.who(request)
        if principal is None:
            raise HTTPException(401, "the admin token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if request.method not in HARMLESS:
            self.check_origin(request)
        if not principal.may(role):
            raise HTTPException(403, f"{principal.name} has the role {principal.role}; this wants {role}")
        return principal

    def check_origin(self, request: Request) -> None:
        """Raises HTTPException 403 for a request that no page of ours has sent (RFC 6454, 7)."""
        if not _is_ours(request.headers.get("origin", ""), request.headers.get("host", "")):
            raise HTTPException(403, "this was not sent by a page of this bridge")

    def is_token(self, given: str) -> bool:
        """Whether this is the admin token."""
        return hmac.compare_digest(given.strip().encode(), self._token.get_secret_value().encode())

    def who(self, request: Request) -> Principal | None:
        """Who is logged in at the browser that asks."""
        key = request.cookies.get(cookie_name(request), "")
        return self._sessions.who(key) if self._sessions is not None and key else None

    def is_still(self, request: Request, role: Role) -> bool:
        """Whether who was admitted may go on reading: a stream lasts longer than many a login."""
        if "authorization" in request.headers:
            return True  # the token is the same as long as the process lives
        principal = self.who(request)
        return principal is not None and principal.may(role)

    def log_in(self, request: Request, response: Response, user: str) -> None:
        """Begin a session: its cookie goes with the response."""
        if self._sessions is None:
            raise HTTPException(503, "nobody can log in now")
        self._sessions.close(request.cookies.get(cookie_name(request), ""))
        key = self._sessions.open(user)
        name, age = cookie_name(request), int(LASTS_S)
        response.set_cookie(name, key, age, httponly=True, samesite="strict", secure=self._is_secure)

    def log_out(self, request: Request, response: Response) -> None:
        """End the session of this browser."""
        name = cookie_name(request)
        if self._sessions is not None:
            self._sessions.close(request.cookies.get(name, ""))
        response.delete_cookie(name, httponly=True, samesite="strict", secure=self._is_secure)

    def _check_token(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not self.is_token(given) or scheme.casefold() != "bearer":
            raise HTTPException(401, "the admin token is missing or wrong", {"WWW-Authenticate": "Bearer"})


def _is_ours(origin: str, host: str) -> bool:
    try:
        return bool(origin) and urlsplit(origin).netloc.casefold() == host.casefold()
    except ValueError:  # an address with half a bracket
        return False


def cookie_name(request: Request) -> str:
    """Cookies are of a host, not of a port (RFC 6265, 8.5): two bridges on one computer have two names."""
    _, _, port = request.headers.get("host", "").rpartition("]")[2].partition(":")
    return f"plantbridge-{port}" if port.isdigit() else "plantbridge"
