"""A vendor's door: one listening port that can refuse connections, and come back on the same number."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from bridge.errors import AddressTaken

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Headers = Callable[[web.StreamResponse], None]

MAX_BODY = 2 * 1024 * 1024


def anonymous(response: web.StreamResponse) -> None:
    """No vendor tells that aiohttp answers."""
    response.headers.pop(hdrs.SERVER, None)


class Front:
    """One listening port.

    Args:
        name: Whose it is, for AddressTaken.
        host: Address to listen on.
        port: 0 takes a free one, which is kept until `stop`.
        handler: Answers every request.
        context: TLS, or None.
        headers: Has the last word on each answer's headers.
        forgets: A request ends where its client hangs up; else it runs to its end, as in most web servers.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        handler: Handler,
        context: ssl.SSLContext | None = None,
        headers: Headers = anonymous,
        forgets: bool = True,
    ) -> None:
        self._name = name
        self._headers = headers
        self._forgets = forgets
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
        app.on_response_prepare.append(self._prepare)
        self._runner = web.AppRunner(app, handler_cancellation=self._forgets, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            if self._port == 0:
                self._reserve()
            await self.listen()
        except OSError as error:
            await self.stop()
            raise AddressTaken(self._name, f"{self._host}:{self._port}", error.strerror or str(error)) from error

    async def listen(self) -> None:
        """Accept connections (again). Cancelled half-way it ends all the same, or its socket would be lost."""
        if self._site is not None or self._runner is None:
            return
        self._listener = self._bind()
        self._site = web.SockSite(self._runner, self._listener, ssl_context=self._context)
        self._starting = asyncio.get_running_loop().create_task(self._site.start(), name=f"{self._name} listen")
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

    async def _prepare(self, _: web.Request, response: web.StreamResponse) -> None:
        self._headers(response)

    def _reserve(self) -> None:
        # A bound socket that never listens keeps an ephemeral port ours while connections are refused.
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
