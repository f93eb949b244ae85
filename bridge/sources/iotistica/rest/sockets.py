"""Sockets: a WebSocket for each agent, made anew before its token ends, so that nothing of the stream is missed.

    token ---- 80 % of its life ----> new token -> second socket, subscribed -> first socket closed
                                                   (both are read meanwhile; what comes twice counts once)

Only where there is no socket (lost, or refused) there is a gap, and it is told: the channel `system` is uncertain then.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp

from bridge.errors import AuthFailed, RateLimited, SourceError
from bridge.sources._crew import Crew
from bridge.sources._poll import Backoff
from bridge.sources.iotistica.rest.figures import Figures
from bridge.sources.iotistica.rest.socket import Expired, Socket, TooMuch
from bridge.sources.iotistica.rest.wire import NotAllowed, NotOffered

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable

    from bridge.ports import Clock
    from bridge.sources.iotistica.profile import SocketRoute
    from bridge.sources.iotistica.rest.client import RestClient
    from bridge.sources.iotistica.rest.report import Report
    from bridge.sources.iotistica.rest.tokens import Token

log = logging.getLogger(__name__)

MOST: Final = 200
"""Agents that are followed; of more, the first."""

AT_ONCE: Final = 4
"""Sockets that are opened at once."""

WELL_BEFORE: Final = 5.0
"""Seconds before its token ends that a socket must be replaced at the latest."""

TOO_MUCH_WAIT: Final = 60.0
NOT_OFFERED_WAIT: Final = 3600.0
PERIOD: Final = 60.0
"""Seconds: the server tells something at least so often (system-info every 30 s)."""


class _Way(NamedTuple):
    """How sockets are opened."""

    session: aiohttp.ClientSession
    url: str
    tls: ssl.SSLContext | None


class Sockets:
    """Those of all agents. `route` is where they are."""

    def __init__(self, client: RestClient, route: SocketRoute, report: Report, clock: Clock) -> None:
        self._client = client
        self._route = route
        self._report = report
        self._clock = clock
        self._figures: dict[str, Figures] = {}
        self._wanted: list[str] = []
        self._changed = asyncio.Event()
        self._opening = asyncio.Semaphore(AT_ONCE)
        self.opened = 0
        self.open = 0

    def follow_all(self, agents: Iterable[str]) -> None:
        """Make it so that exactly these are followed, up to MOST."""
        wanted = list(agents)
        self._wanted = wanted[:MOST]
        if len(wanted) > MOST:
            log.debug("Source %s: %d agents are not followed by WebSocket", self._report.source, len(wanted) - MOST)
        self._figures = {agent: self._figures.get(agent) or Figures() for agent in self._wanted}
        self._changed.set()

    async def run(self, tls: ssl.SSLContext | None) -> None:
        """Follow until cancelled. Raises AuthFailed, RateLimited."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            way = _Way(session, f"{self._client.wire.root}{self._route.path}", tls)
            crew = Crew(group, f"{self._report.source} websocket")
            while True:
                self._changed.clear()
                crew.muster({agent: partial(self._follow, way, agent) for agent in self._wanted})
                await self._changed.wait()

    async def _follow(self, way: _Way, agent: str) -> None:
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                await self._followed(way, agent, backoff)
            except (AuthFailed, RateLimited):
                raise
            except Expired:
                continue  # our clock is slow; the next token is another one
            except SourceError as error:
                self._report.down(agent, "system", error)
                await self._clock.sleep(_wait_of(error, backoff))

    async def _followed(self, way: _Way, agent: str, backoff: Backoff) -> None:
        """Follow an agent, from one socket to the next; raises why the last one ended."""
        async with AsyncExitStack() as kept:
            current: Socket | None = None
            while True:
                token = await self._client.tokens.valid()
                following = AsyncExitStack()
                try:
                    socket = await following.enter_async_context(self._socket(way, agent, token))
                except NotAllowed:
                    await self._client.tokens.renewed(token)
                    raise
                except SourceError:
                    if current is None:
                        raise
                    if (why := await current.ended(backoff.next())) is not None:
                        raise why from None
                    continue  # the old one still tells
                before = kept.pop_all()
                await kept.enter_async_context(following)
                await before.aclose()
                current, backoff.attempt = socket, 0
                left = min(token.renew_at, token.ends_at - WELL_BEFORE) - self._clock.monotonic()
                if (why := await socket.ended(max(0.0, left))) is not None:
                    raise why

    @asynccontextmanager
    async def _socket(self, way: _Way, agent: str, token: Token) -> AsyncIterator[Socket]:
        """A socket that is opened when it is its turn, and counted while it is open."""
        params, take = self._route.params(token.text, agent), partial(self._take, agent)
        socket = Socket(way.session, way.url, params, self._route.channels, take, self._clock, way.tls)
        async with self._opening:
            await socket.__aenter__()
        self.open += 1
        self.opened += 1
        try:
            yield socket
        finally:
            self.open -= 1
            await socket.__aexit__()

    def _take(self, agent: str, message: dict[str, Any]) -> None:
        figures = self._figures.get(agent)
        payload = None if figures is None else figures.take(message)
        if payload is not None:
            self._report.observe(agent, "system", payload, None, PERIOD)


def _wait_of(error: SourceError, backoff: Backoff) -> float:
    if isinstance(error, TooMuch):
        return TOO_MUCH_WAIT
    return NOT_OFFERED_WAIT if isinstance(error, NotOffered) else backoff.next()
