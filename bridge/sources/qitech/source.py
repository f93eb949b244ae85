"""QitechSource: a QiTech panel as a source of values.

done: Bronze, Silver, readback confirm, stream with fallback to nothing (a 3.x panel has no other safe way)
limits: facts of 2.14 to 3.0.0; a release we do not know is read by the rules of 3.x
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from bridge.sources.qitech.client import LIST, PanelClient, Probe
from bridge.sources.qitech.executor import QitechExecutor
from bridge.sources.qitech.profile import Profile, reconciled
from bridge.sources.qitech.report import Report
from bridge.sources.qitech.roster import Roster
from bridge.sources.qitech.session import Session
from bridge.sources.qitech.socketio import Door
from bridge.transport.http import CONNECT_TIMEOUT, basic_auth, goes_in_clear, http_client, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    import httpx

    from bridge.model.observation import Observation
    from bridge.ports import Clock, Publish
    from bridge.sources.qitech.config import QitechConfig

log = logging.getLogger(__name__)

STREAMS: Final = 1024
"""Event streams of one panel at once."""


class QitechSource:
    """One panel. The constructor does no I/O; `run` may be called again after it failed or was cancelled.

    Args:
        name: the source's name in the configuration.
        config: where the panel is, and how it is read.
        clock: the one clock.
        wanted: keys ("1/4/57922") of the machines to be read; None for every one there is. Looked at again every few
            seconds, so that it may be a set that its owner changes.
        transport: takes the place of the network for REST, in tests.
    """

    def __init__(
        self,
        name: str,
        config: QitechConfig,
        clock: Clock,
        wanted: Collection[str] | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._wanted = wanted
        self._transport = transport
        self._roster = Roster(name)
        self._executor = QitechExecutor(name, clock, writes=config.writes)
        self._has_warned = False
        self._contradiction = ""

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

    def origin(self, observation: Observation) -> str:
        """The panel's REST request, or the Socket.IO namespace that sent it."""
        if observation.requested_at is None:
            return f"Socket.IO, namespace /machine/{observation.machine}"
        slug = self._roster.slug(observation.machine) or "…"  # the panel lists it no longer
        return f"GET {self._config.url}{LIST}/{slug}/{_serial(observation.machine)}"

    @property
    def executor(self) -> QitechExecutor:
        """How commands reach the panel's machines; usable while `run` runs, and always answering."""
        return self._executor

    async def run(self, publish: Publish) -> None:
        """Serve until the panel is gone (NotConnected, AuthFailed) or cancelled.

        A cancel returns once every GET in flight has its answer: giving one up crashes a 2.x panel.
        """
        self._warn()
        report = Report(self._name, self._clock, self._executor.overhearing(publish))
        tls = await self._tls()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(PanelClient(self._http(tls), self._clock))
            verdict, listed = await self._probe(client)
            client.settle(verdict)
            report.reading("Profile", verdict.profile.value)
            report.reading("TlsVerified", self._config.is_encrypted and self._config.verify)
            log.debug("Source %s: %s", self._name, verdict.reason)
            door = Door(await stack.enter_async_context(self._streams()), self._config.url, self._headers(), tls)
            session = Session(self._config, verdict, client, door, self._roster, report, self._clock, self._wanted)
            with self._executor.connected(session):
                await session.run(listed)

    async def _probe(self, client: PanelClient) -> Probe:
        found, listed = await client.probe()
        if self._config.profile == "auto":
            return Probe(found, listed)
        verdict = reconciled(found, Profile(self._config.profile))
        is_contradicted = found.is_known and verdict is not found
        if is_contradicted and verdict.reason != self._contradiction:
            self._contradiction = verdict.reason
            log.warning("Source %s: %s", self._name, verdict.reason)
        return Probe(verdict, listed)

    def _http(self, tls: ssl.SSLContext | None) -> httpx.AsyncClient:
        return http_client(
            self._config.url,
            tls=tls,
            headers=self._headers(),
            timeout=self._config.request_timeout,
            transport=self._transport,
        )

    def _headers(self) -> dict[str, str]:
        """Basic authentication; nothing where the panel has no password (port 3001)."""
        password = self._config.password
        return basic_auth(self._config.username, password.get_secret_value()) if password else {}

    async def _tls(self) -> ssl.SSLContext | None:
        if not self._config.is_encrypted:
            return None
        return await asyncio.to_thread(tls_context, self._config.ca_file, verify=self._config.verify)

    @staticmethod
    def _streams() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=STREAMS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _warn(self) -> None:
        """Say once, loudly, what is unsafe in the configuration."""
        if self._has_warned:
            return
        self._has_warned = True
        host = urlsplit(self._config.url).hostname
        if self._config.is_encrypted and not self._config.verify:
            log.warning("Source %s: verify is false: anybody on the way may pose as the panel %s", self._name, host)
        if self._config.password is not None and goes_in_clear(self._config.url):
            log.warning("Source %s: the password goes to %s in clear text; use https", self._name, host)


def _serial(key: str) -> str:
    return key.rpartition("/")[2]
