"""Rest: the cloud's half of a source, from its login to observations.

    list of agents (must succeed) -> list every minute | visits of each agent | polls of the whole | backfill
      (each by itself, within the budgets) -> events -> notebook -> observations

Rules
1. Events are told, then kept as told; their ids are made of what they tell. A crash in between tells the same again.
2. What fails is one poll's, or one agent's channel. The connection is lost where requests in a row are not answered at
   all, or the list of agents fails again and again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bridge.errors import NotConnected, SourceError
from bridge.sources._gravest import gravest
from bridge.sources._slowed import tell_slowed
from bridge.sources.iotistica.rest.agents import AgentList
from bridge.sources.iotistica.rest.backfill import Backfill
from bridge.sources.iotistica.rest.client import RestClient
from bridge.sources.iotistica.rest.executor import RestExecutor
from bridge.sources.iotistica.rest.polls import Polls
from bridge.sources.iotistica.rest.probe import Verdict, probe
from bridge.sources.iotistica.rest.report import Report
from bridge.sources.iotistica.rest.sockets import Sockets
from bridge.sources.iotistica.rest.tasks import Task
from bridge.sources.iotistica.rest.visits import FAILURES, Visits
from bridge.sources.iotistica.rest.wire import VENDOR, Unwell
from bridge.transport.http import goes_in_clear, http_client, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import httpx

    from bridge.ports import Clock, Publish
    from bridge.sources.iotistica.notebook import Notebook
    from bridge.sources.iotistica.presence import Presence
    from bridge.sources.iotistica.profile import Profile
    from bridge.sources.iotistica.rest.backfill import Lapse
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.roster import Roster

log = logging.getLogger(__name__)

FLEETS_PERIOD: Final = 600.0
PIPELINE_PERIOD: Final = 60.0
HEALTH_PERIOD: Final = 60.0
AUDIT_PERIOD: Final = 60.0
FIGURES_PERIOD: Final = 5.0
"""Seconds."""


class Rest:
    """The REST half. `has_mqtt`: telemetry and state come by MQTT, and are read here only where they were missed."""

    title = "REST"

    def __init__(
        self,
        source: str,
        rules: RestRules,
        profile: Profile,
        clock: Clock,
        roster: Roster,
        presence: Presence,
        notebook: Notebook,
        *,
        has_mqtt: bool,
        writes: bool = False,
        websocket: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._source = source
        self._rules = rules
        self._clock = clock
        self._presence = presence
        self._notebook = notebook
        self._transport = transport
        self._has_readings = rules.readings == "always" or (rules.readings == "auto" and not has_mqtt)
        self._is_connected = False
        self._is_recalled = False
        self._has_warned = False
        self.report = Report(source, clock)
        self.client = RestClient(rules, profile, clock)
        self.agents = AgentList(self.client, roster, presence, self.report, has_state=not has_mqtt)
        state_with = None if has_mqtt else self.agents.state_with
        self.visits = Visits(self.client, rules, presence, self.report, state_with)
        self.polls = Polls(self.client, rules, self.agents, self.report)
        self.backfilled = Backfill(source, self.client, clock, roster.is_read)
        self.executor = RestExecutor(self.client, rules, clock, self.look_again, writes=writes)
        route = profile.websocket if websocket else None
        self.sockets = None if route is None else Sockets(self.client, route, self.report, clock)
        self._tasks = list(self._made())

    @property
    def channels(self) -> frozenset[str]:
        """The channels it alone speaks on."""
        own = {"agent", "incidents", "jobs", "pipeline"} | self.visits.channels
        own = own if self.sockets is None else own | {"system"}
        return frozenset(own | ({"readings"} if self._has_readings else set()))

    @property
    def is_connected(self) -> bool:
        """The list of agents was read, and goes on being."""
        return self._is_connected

    async def run(self, publish: Publish) -> None:
        """Serve until the cloud cannot be reached or used any more, or it is cancelled."""
        self._warn()
        self.report.begin(publish)
        await self._recall()
        async with AsyncExitStack() as stack:
            tls = await self._tls()
            http = await stack.enter_async_context(self._client_with(tls))
            stack.enter_context(self.client.wire.connected(http))
            try:
                await self._serve(publish, tls)
            except BaseExceptionGroup as group:
                raise gravest(group) from None
            finally:
                self._is_connected = False
                self._say_figures()  # with what has ended it
                await self.keep()

    async def probe(self) -> Verdict:
        """Which profile the server speaks. Raises SourceError."""
        async with self._client_with(await self._tls()) as http:
            return await probe(http)

    def fill(self, lapses: Iterable[Lapse]) -> None:
        """Read what MQTT missed, when there is time."""
        self.backfilled.add(lapses, self.client.now() - round(self._rules.max_backfill * 1000))

    def look_again(self, agent: str) -> None:
        """An agent says that its version is another."""
        self.visits.hasten(agent, "detail")

    async def keep(self) -> None:
        """Write down what was told."""
        pages = {"polls": self.polls.document(), "versions": self.visits.document()}
        await self._notebook.keep({**pages, "presence": self._presence.document()})

    async def _recall(self) -> None:
        await self._notebook.recall()
        if not self._is_recalled:
            self._is_recalled = True
            self.polls.recall(self._notebook.page("polls"))
            self.visits.recall(self._notebook.page("versions"))
            self._presence.recall(self._notebook.page("presence"))

    async def _serve(self, publish: Publish, tls: ssl.SSLContext | None) -> None:
        async with asyncio.TaskGroup() as group:
            slowed = tell_slowed(self._source, VENDOR, self.client.limits.budgets["general"], self._clock, publish)
            group.create_task(slowed, name=f"{self._source} slowed")
            group.create_task(self._tell_figures(), name=f"{self._source} REST figures")
            await self._list()
            self._is_connected = True
            for name, work in self._works(publish, tls):
                group.create_task(work, name=f"{self._source} {name}")  # type: ignore[arg-type]

    def _works(self, publish: Publish, tls: ssl.SSLContext | None) -> Iterator[tuple[str, Awaitable[None]]]:
        for task in self._tasks:
            yield task.name, task.run(publish)
        yield from self.visits.works()
        if self.sockets is not None:
            yield "websockets", self.sockets.run(tls)
        yield "backfill", self.backfilled.run(publish)

    def _made(self) -> Iterator[Task]:
        rules, polls = self._rules, self.polls
        yield self._task("Agents", rules.agents_period, self._list, is_vital=True, waits=True)
        kinds: list[tuple[str, str, float, Callable[[], Awaitable[None]]]] = [
            ("incidents", "Incidents", rules.incidents_period, polls.incidents),
            ("alerts", "Alerts", rules.incidents_period, polls.alerts),
            ("jobs", "JobList", rules.jobs_period, polls.jobs),
            ("fleets", "Fleets", FLEETS_PERIOD, self.agents.read_fleets),
            ("health", "ServerHealth", HEALTH_PERIOD, polls.health),
            ("ingestion", "Pipeline", PIPELINE_PERIOD, polls.pipeline),
        ]
        if rules.audit:
            kinds.append(("audit", "AuditEvents", AUDIT_PERIOD, polls.audit))
        if self._has_readings:
            kinds.append(("readings_latest", "Readings", rules.readings_period, polls.readings))
        for route, name, period, work in kinds:
            if self.client.offers(route):
                yield self._task(name, period, self._kept(work))

    def _task(
        self, name: str, period: float, work: Callable[[], Awaitable[None]], *, is_vital: bool = False,
        waits: bool = False,
    ) -> Task:  # fmt: skip
        return Task(self._source, name, period, work, self._clock, self._is_lost, is_vital=is_vital, waits=waits)

    def _is_lost(self, error: SourceError) -> bool:
        is_silent = isinstance(error, NotConnected) and not isinstance(error, Unwell)
        return is_silent and self.client.wire.unanswered >= FAILURES

    def _kept(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def kept() -> None:
            try:
                await work()
            finally:
                await self.keep()

        return kept

    async def _list(self) -> None:
        await self.agents.read(self._rules.agents_period)
        self.visits.visit_all(self.agents.agents)
        if self.sockets is not None:
            self.sockets.follow_all(self.agents.agents)
        await self.keep()

    async def _tell_figures(self) -> None:
        while True:
            self._say_figures()
            await self._clock.sleep(FIGURES_PERIOD)

    def _say_figures(self) -> None:
        figures, say = self.client.limits.figures, self.report.say
        say("RestConnected", self._is_connected)
        say("Profile", self.client.profile.profile)
        say("ClockOffset", round(self.client.wire.vendor_clock.offset, 1))
        say("Requests", self.client.wire.requests)
        say("Logins", self.client.tokens.logins)
        say("BudgetLimit", figures.limit)
        say("BudgetUsed", figures.used)
        say("BudgetRate", round(figures.rate, 1))
        say("Throttled", sum(one.figures.throttled_total for one in self.client.limits.budgets.values()))
        if self.sockets is not None:
            say("WebSockets", self.sockets.open)
        say("BackfillWaiting", len(self.backfilled))
        say("BackfillRows", self.backfilled.rows)

    async def _tls(self) -> ssl.SSLContext | None:
        is_encrypted = self._rules.url.startswith("https")
        return await asyncio.to_thread(tls_context, self._rules.ca_file) if is_encrypted else None

    def _client_with(self, tls: ssl.SSLContext | None) -> httpx.AsyncClient:
        timeout = self._rules.request_timeout
        return http_client(self._rules.url + "/", tls=tls, timeout=timeout, transport=self._transport)

    def _warn(self) -> None:
        if self._has_warned or not goes_in_clear(self._rules.url):
            return
        self._has_warned = True
        log.warning(
            "Source %s: password and token go to %s in clear text; put a proxy with TLS before the API",
            self._source, urlsplit(self._rules.url).hostname,
        )  # fmt: skip
