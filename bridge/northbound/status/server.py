"""StatusServer: the northbound that serves the admin API with uvicorn, on a socket of our own."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

import uvicorn

from bridge.errors import AddressTaken
from bridge.northbound.status.api import AdminApi
from bridge.northbound.status.config import tls_fault
from bridge.northbound.status.connection import Connection
from bridge.northbound.status.guard import Guard
from bridge.northbound.status.session import NoLogins, Sessions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr
    from starlette.applications import Starlette

    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.northbound.status.config import StatusConfig
    from bridge.northbound.status.session import Logins
    from bridge.ports import Clock, Operations, Submit, TagView

_log = logging.getLogger(__name__)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that an answer has no end: it is how a view that takes nothing is closed, and told by ourselves."""
    return "without completing response" not in record.getMessage()


WHAT = "the status page"
GOODBYE_S = 2
"""Seconds a request in flight has to end when the server stops."""

MAX_CONNECTIONS = 128

UNTAKEN_MS = 60_000
"""So long the system keeps what a browser does not take, then it ends the connection."""


class StatusServer:
    """Health, metrics and the admin API (see `bridge.ports.Northbound`).

    Args:
        config: where to listen.
        token: the admin token; must not be empty.
        clock: time.
        logins: who may log in by name and password, beside the token's holder.
    """

    name = "status"

    def __init__(self, config: StatusConfig, token: SecretStr, clock: Clock, logins: Logins | None = None) -> None:
        self._config = config
        self._logins = logins or NoLogins()
        sessions, is_secure = Sessions(clock, self._logins), config.cert_file is not None
        self._guard = Guard(token, config.host, sessions, is_secure=is_secure, names=config.names)
        self._clock = clock
        self._url: str | None = None
        self._listening = asyncio.Event()

    async def listening(self) -> str:
        """Wait until the socket is bound; its URL (`http://127.0.0.1:8080`), with the port really taken."""
        await self._listening.wait()
        assert self._url is not None  # noqa: S101 - set before the event
        return self._url

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Serve until cancelled. Raises AddressTaken, also where the certificate cannot be used."""
        problem = await asyncio.to_thread(tls_fault, self._config)
        if problem:
            raise AddressTaken(WHAT, f"{self._config.host}:{self._config.port}", problem)
        with await self._bound() as listener:
            self._announce(listener)
            stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            api = AdminApi(view, operations, self._clock, self._guard, stopping, submit, self._logins)
            try:
                await _serve(api.application(), listener, stopping, self._config)
            finally:
                self._listening.clear()

    def address(self, tag: Tag) -> str:
        """The tag's path in the admin API."""
        return f"/api/v1/tags/{tag.id}"

    def faults(self, plant: Plant) -> Sequence[str]:
        """None: every tag id fits into a path."""
        return ()

    async def _bound(self) -> socket.socket:
        host, port = self._config.host, self._config.port
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            return _listener(family, kind, protocol, address)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a host name"
            raise AddressTaken(WHAT, f"{host}:{port}", (reason or str(error)).lower()) from None

    def _announce(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        scheme = "https" if self._config.cert_file else "http"
        self._url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self._listening.set()


def _listener(
    family: int, kind: int, protocol: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: what a reader does not take is not kept for ever (tcp(7))
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def _serve(
    application: Starlette, listener: socket.socket, stopping: asyncio.Future[None], files: StatusConfig
) -> None:
    """Serve until cancelled, then end streams and let requests in flight finish.

    This is uvicorn's `Server.serve` in its three public steps: without its signal handlers (signals belong to the
    supervisor) and without its loop that wakes ten times a second.
    """
    config = uvicorn.Config(
        application,
        http=Connection,
        lifespan="off",
        ws="none",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GOODBYE_S,
        ssl_certfile=files.cert_file,
        ssl_keyfile=files.key_file,
    )
    config.load()
    logging.getLogger("uvicorn.error").addFilter(_is_news)  # the same one again is not added twice
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        stopping.set_result(None)
        await _goodbye(server, listener)


async def _goodbye(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.shutdown(sockets=[listener])
    if server.server_state.tasks:
        _log.warning("%d requests to the status page were cut off", len(server.server_state.tasks))
        await asyncio.wait(set(server.server_state.tasks), timeout=GOODBYE_S)
