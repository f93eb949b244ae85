"""Caddy in front of the panel's backend: Basic auth, 401, 502.

Without user name and TLS there is no Caddy: the backend's own port, which refuses connections while it is down.
"""

from __future__ import annotations

import base64
import hmac

from aiohttp import hdrs, web


class Gatekeeper:
    """Caddy's basic_auth: who may pass. Each wrong password costs a bcrypt on the real one."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self.username = username
        self.password = password
        self.refused = 0

    def refuses(self, request: web.Request) -> web.Response | None:
        """401, or None for a guest who may pass."""
        if self.username is None:
            return None
        token = base64.b64encode(f"{self.username}:{self.password or ''}".encode()).decode()
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        if hmac.compare_digest(given.encode(), f"Basic {token}".encode()):
            return None
        self.refused += 1
        return web.Response(
            status=401, headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="restricted"', hdrs.SERVER: "Caddy"}
        )


def bad_gateway() -> web.Response:
    """Caddy's answer while the backend is down: no body, no JSON."""
    return web.Response(status=502, headers={hdrs.SERVER: "Caddy"})


def own_headers(response: web.StreamResponse) -> None:
    """The backend itself names no server."""
    if response.headers.get(hdrs.SERVER) != "Caddy":
        response.headers.pop(hdrs.SERVER, None)
