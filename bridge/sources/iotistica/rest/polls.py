"""Polls: what is asked for of the installation as a whole: incidents, alerts, jobs, audit, readings, its own health."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bridge.model.event import Event
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.incidents import Alerts, Incidents, incident_of
from bridge.sources.iotistica.rest.jobs import Jobs, listed_of, progress_of
from bridge.sources.iotistica.rest.rows import iso, milliseconds, pipeline_row, reading_rows, text
from bridge.sources.iotistica.rest.series import Series
from bridge.sources.iotistica.rest.wire import Missing, NotOffered, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.sources.iotistica.rest.agents import AgentList
    from bridge.sources.iotistica.rest.client import RestClient
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.rest.jobs import Listed
    from bridge.sources.iotistica.rest.report import Report

log = logging.getLogger(__name__)

PAGE: Final = 500
PAGES: Final = 10
JOBS_PAGE: Final = 50
AUDIT_PAGE: Final = 500

ONE_BY_ONE: Final = 20
"""Incidents that are asked for by themselves in one poll; the others have their turn in the next."""

STRANGE: Final = 10
"""Metrics that are looked at by themselves in one poll; more where half of its period has not passed."""

LOOK_BACK: Final = 900_000
LOOK_AT: Final = 500
"""Milliseconds back, and rows, in which every device of a metric is expected."""

LEARN: Final = 600.0
"""Seconds after which what readings there are is looked at again."""

TOLD_OTHERWISE: Final = (
    "device.online", "device.offline", "device.heartbeat", "job.", "target_state.updated", "current_state.updated",
)  # fmt: skip
"""Audit events that are told by what they are about."""

AUDIT_SEEN: Final = 2000


class Polls:
    """All of them, and what they must know after a restart."""

    def __init__(self, client: RestClient, rules: RestRules, agents: AgentList, report: Report) -> None:
        self._client = client
        self._rules = rules
        self._agents = agents
        self._report = report
        self.incidents_of = Incidents(report.source)
        self.alerts_of = Alerts(report.source, self.incidents_of.agent_of)
        self.jobs_of = Jobs(report.source)
        self._series = Series()
        self._can_query = client.offers("readings_query")
        self._learned = float("-inf")
        self._audit_since: int | None = None
        self._audit_seen: dict[str, int] = {}

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        for part, name in ((self.incidents_of, "incidents"), (self.alerts_of, "alerts"), (self.jobs_of, "jobs")):
            told = page.get(name)
            if isinstance(told, dict):
                part.recall(told)
        audit = page.get("audit")
        if isinstance(audit, dict) and isinstance(audit.get("seen"), dict):
            self._audit_since = milliseconds(audit.get("since"))
            self._audit_seen = {str(key): at for key, at in audit["seen"].items() if isinstance(at, int)}

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {
            "incidents": self.incidents_of.document(),
            "alerts": self.alerts_of.document(),
            "jobs": self.jobs_of.document(),
            "audit": {"since": self._audit_since, "seen": dict(self._audit_seen)},
        }

    # -- incidents and alerts

    async def incidents(self) -> None:
        """Everything open and active; and what is no longer listed, by itself."""
        rows: list[dict[str, Any]] = []
        asked = None
        for status in ("open", "active"):
            for page in range(PAGES):
                values = {"status": status, "limit": PAGE, "offset": page * PAGE}
                reply = await self._client.read("incidents", values)
                asked = reply.asked if asked is None else asked
                rows += reply.rows()
                if len(reply.rows()) < PAGE:
                    break
        now = self._report.clock.now()
        events, missing = self.incidents_of.read(rows, now)
        self._report.tell(events)
        for identifier in missing[:ONE_BY_ONE]:
            await self._ask_incident(identifier)
        for agent in self._agents.agents:
            self._report.observe(agent, "incidents", self.incidents_of.of(agent), asked, self._rules.incidents_period)

    async def _ask_incident(self, identifier: str) -> None:
        try:
            reply = await self._client.read("incident", {"incident": identifier})
        except Missing:
            self._report.tell(self.incidents_of.gone(identifier, self._report.clock.now()))
            return
        found = reply.find("incident")
        incident = incident_of(found) if isinstance(found, dict) else None
        if incident is not None:
            self._report.tell(self.incidents_of.see(incident, self._report.clock.now()))

    async def alerts(self) -> None:
        """What was fired since the watermark, with an overlap."""
        since = self.alerts_of.since(self._client.now())
        rows: list[dict[str, Any]] = []
        for page in range(PAGES):
            reply = await self._client.read("alerts", {"since": since, "limit": PAGE, "offset": page * PAGE})
            rows += reply.rows()
            if len(reply.rows()) < PAGE:
                break
        self._report.tell(self.alerts_of.read(rows))

    # -- jobs

    async def jobs(self) -> None:
        """The newest jobs, back to those that are known to be over, each agent's progress."""
        self.jobs_of.begin(self._client.now())
        if "agent" in self._client.profile.routes["jobs"].path:
            for agent in self._agents.agents:
                await self._list_jobs(agent)
        else:
            await self._list_jobs("")
        for agent in self._agents.agents:
            self._report.observe(agent, "jobs", self.jobs_of.of(agent), None, self._rules.jobs_period)

    async def _list_jobs(self, agent: str) -> None:
        for page in range(PAGES):
            values = {"agent": agent, "limit": JOBS_PAGE, "offset": page * JOBS_PAGE}
            rows = (await self._client.read("jobs", values, Priority.ACTIVITY)).rows()
            listed = [job for row in rows if (job := listed_of(row, agent)) is not None]
            is_enough = len(rows) < JOBS_PAGE or self.jobs_of.reaches_back(listed)
            for job in reversed(listed):
                if self.jobs_of.must_look(job):
                    await self.look_at_job(job, agent)
            if is_enough:
                return

    async def look_at_job(self, job: Listed, agent: str) -> None:
        """How far each agent is with a job."""
        try:
            reply = await self._client.read("job", {"agent": agent, "job": job.id}, Priority.ACTIVITY)
        except Missing:
            return
        statuses = reply.find("statuses")
        if not isinstance(statuses, list):
            one = reply.find("job")
            statuses = [one] if isinstance(one, dict) else []
        now = self._report.clock.now()
        for row in statuses:
            progress = progress_of(job, row, agent) if isinstance(row, dict) else None
            if progress is not None:
                self._report.tell(self.jobs_of.see(progress, now))

    # -- audit

    async def audit(self) -> None:
        """The vendor's own events, without their data, which may hold secrets; administrators only."""
        reply = await self._client.read("audit", {"limit": AUDIT_PAGE}, Priority.ACTIVITY)
        now = self._client.now()
        if self._audit_since is None:
            self._audit_since = now
        news: list[Event] = []
        for row in reply.rows():
            identifier, at = text(row.get("event_id")) or text(row.get("id")), milliseconds(row.get("timestamp"))
            if identifier is None or at is None or at < self._audit_since or identifier in self._audit_seen:
                continue
            self._audit_seen[identifier] = at
            if (event := self._audit_event(identifier, at, row)) is not None:
                news.append(event)
        news.sort(key=lambda event: event.time)
        self._report.tell(news)
        for key in sorted(self._audit_seen, key=lambda one: self._audit_seen[one])[:-AUDIT_SEEN]:
            self._audit_since = max(self._audit_since, self._audit_seen.pop(key) + 1)

    def _audit_event(self, identifier: str, at: int, row: Mapping[str, Any]) -> Event | None:
        kind = text(row.get("type")) or text(row.get("event_type")) or ""
        if not kind or kind.startswith(TOLD_OTHERWISE):
            return None
        about = text(row.get("aggregate_id")) or ""
        agent = about.lower() if about.lower() in self._agents.agents else ""
        data = {"type": kind, "about": about, "about_type": text(row.get("aggregate_type"))}
        stamp = datetime.fromtimestamp(at // 1000, UTC)
        words = text(row.get("title")) or kind
        source = self._report.source
        return Event(f"{source}:audit:{identifier}", "audit", stamp, words, 100, source, agent, data)

    # -- readings, where there is no MQTT

    async def readings(self) -> None:
        """The newest value of everything that is a number, of every device."""
        began = self._report.clock.monotonic()
        is_due = began - self._learned >= LEARN
        if is_due or not self._can_query:
            for agent in self._agents.agents:
                await self._latest(agent)
            self._learned = began if is_due else self._learned
        if self._can_query:
            await self._query_if_offered()
        if is_due and not self._can_query:
            self._series.wonder(self._agents.agents)
        await self._look(began + self._rules.readings_period / 2)

    @property
    def _back(self) -> int:
        """Seconds in which a device that is there has told something since the last polls."""
        return max(2, round(4 * self._rules.readings_period))

    async def _query_if_offered(self) -> None:
        try:
            await self._query()
        except NotOffered as error:
            log.info("Source %s: readings are read metric by metric: %s", self._report.source, error)
            self._can_query = False

    async def _query(self) -> None:
        agents = self._agents.agents
        for ask in self._series.asks(agents, "1s-last"):
            values = {"start": f"{self._back}s-ago", "queries": ask.queries}
            reply = await self._client.read("readings_query", values)
            for agent, rows in self._series.rows(ask, reply.find("results")).items():
                if agent in agents:
                    self._report.observe(agent, "readings", rows, reply.asked, self._rules.readings_period)

    async def _look(self, until: float) -> None:
        """Look at metrics by themselves whose devices are not all known."""
        looked = 0
        while looked < STRANGE or self._report.clock.monotonic() < until:
            chosen = self._series.strange(1)
            if not chosen:
                return
            await self._look_at(*chosen[0])
            looked += 1

    async def _look_at(self, agent: str, metric: str) -> None:
        """Learn more of a metric: which devices have it, and how it is with them; and tell it."""
        now = self._client.now()
        back = self._back * 1000 if self._series.has_many(agent, metric) else LOOK_BACK
        values = {"agent": agent, "metric": metric, "start": iso(now - back), "end": iso(now), "limit": LOOK_AT}
        try:
            reply = await self._client.read("readings_series", values, Priority.ACTIVITY)
        except Refused as error:
            log.debug("Source %s: of %s nothing more is known: %s", self._report.source, metric, error)
            return
        rows = reading_rows(reply.rows())
        self._series.learn_more(agent, rows)
        newest = {row["device_uuid"]: row for row in sorted(rows, key=lambda row: str(row["time"]))}
        if newest and agent in self._agents.agents:
            told = list(newest.values())
            self._report.observe(agent, "readings", told, reply.asked, self._rules.readings_period)

    async def _latest(self, agent: str) -> None:
        try:
            reply = await self._client.read("readings_latest", {"agent": agent})
        except Missing as error:
            self._report.down(agent, "readings", error)
            return
        rows = reading_rows(reply.rows())
        self._series.learn(agent, rows)
        self._report.observe(agent, "readings", rows, reply.asked, self._rules.readings_period)

    # -- the installation itself

    async def health(self) -> None:
        """Whether the server says that it is well."""
        reply = await self._client.read("health", {}, Priority.ACTIVITY)
        status = reply.data.get("status") if isinstance(reply.data, dict) else None
        self._report.say("ServerStatus", text(status), "The server does not say")

    async def pipeline(self) -> None:
        """Whether readings reach the cloud's database."""
        reply = await self._client.read("ingestion")
        row = pipeline_row(*(reply.find(name) for name in ("healthy", "last", "spooling", "backlog")))
        for agent in self._agents.agents:
            self._report.observe(agent, "pipeline", row, reply.asked, self._rules.agents_period)
