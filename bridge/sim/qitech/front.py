"""The panel's door: the port, and Caddy in front of the backend (TLS, Basic auth, 401, 502).

Without user name and TLS there is no Caddy: the backend's own port, which refuses connections while it is down.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from bridge.errors import AddressTaken
from bridge.sim.qitech.body import MAX_BODY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """One listening port."""

    def __init__(self, host: str, port: int, handler: Handler, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._handler = handler
        self._context = context
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._starting: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._reserved: socket.socket | None = None

    @property
    def listening(self) -> bool:
        """Connections are accepted."""
        return self._site is not None and self._starting is not None and self._starting.done()

    @property
    def port(self) -> int:
        """The port in use; after `start` never 0."""
        return self._port

    async def start(self) -> None:
        """Bind and listen. Raises AddressTaken."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handler)
        app.on_response_prepare.append(_own_headers)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            if self._port == 0:
                self._reserve()
            await self.listen()
        except OSError as error:
            await self.stop()
            raise AddressTaken(
                "QiTech simulator", f"{self._host}:{self._port}", error.strerror or str(error)
            ) from error

    async def listen(self) -> None:
        """Accept connections (again). Cancelled half-way it ends all the same, or its socket would be lost."""
        if self._site is not None or self._runner is None:
            return
        self._listener = self._bind()
        self._site = web.SockSite(self._runner, self._listener, ssl_context=self._context)
        self._starting = asyncio.get_running_loop().create_task(self._site.start(), name="qitech-panel-listen")
        await asyncio.shield(self._starting)

    async def refuse(self) -> None:
        """Drop every connection and stop listening: connections are refused until `listen`."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._site is None or self._listener is None:
            return
        site, self._site = self._site, None
        # asyncio loses a connection that was accepted but not yet attached when its server closes: accept no more,
        # let those attach, and only then close.
        asyncio.get_running_loop().remove_reader(self._listener)
        for _ in range(4):
            await asyncio.sleep(0)
        self.drop_connections()
        await site.stop()

    def drop_connections(self) -> None:
        """Every connection is gone, without a word."""
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def stop(self) -> None:
        """Free the port."""
        if self._runner is not None:
            await self.refuse()
            await self._runner.cleanup()
            self._runner = None
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _reserve(self) -> None:
        # A bound socket that never listens keeps an ephemeral port ours while the panel is down.
        self._reserved = self._socket(shared=True)
        self._reserved.bind((self._host, 0))
        self._port = self._reserved.getsockname()[1]

    def _bind(self) -> socket.socket:
        sock = self._socket(shared=self._reserved is not None)
        try:
            sock.bind((self._host, self._port))
        except OSError:
            sock.close()
            raise
        return sock

    def _socket(self, shared: bool) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        return sock


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


async def _own_headers(_: web.Request, response: web.StreamResponse) -> None:
    if response.headers.get(hdrs.SERVER) != "Caddy":
        response.headers.pop(hdrs.SERVER, None)
