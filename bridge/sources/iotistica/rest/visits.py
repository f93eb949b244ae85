"""Visits: what is asked for of each agent by itself, in rounds of a period, within the budget that counts it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.errors import AuthFailed, NotConnected, RateLimited, SourceError
from bridge.model.event import Event
from bridge.sources._budget import Priority
from bridge.sources._rounds import Rounds
from bridge.sources.iotistica.rest.rows import detail_row, device_row, figures, health_row, iso, sums_row
from bridge.sources.iotistica.rest.wire import NotOffered, Unwell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from bridge.sources._rounds import Visit
    from bridge.sources.iotistica.presence import Presence
    from bridge.sources.iotistica.rest.client import RestClient
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.rest.report import Report

log = logging.getLogger(__name__)

SUMS_PERIOD: Final = 900.0
HOURS_BACK: Final = 3 * 3_600_000
DAYS_BACK: Final = 3 * 86_400_000
"""Milliseconds."""

ROWS: Final = 500
"""Endpoints or devices of one agent that are told."""

FAILURES: Final = 3
"""Requests in a row that nobody answered, after which the connection is lost."""


class Kind(NamedTuple):
    """One kind of visit."""

    route: str
    channel: str
    period: float
    read: Callable[[Visit], Awaitable[Any]]


class Visits:
    """All kinds of visits. `state_with` completes the channel `state` of an agent; None where MQTT tells it."""

    def __init__(
        self,
        client: RestClient,
        rules: RestRules,
        presence: Presence,
        report: Report,
        state_with: Callable[[str, Mapping[str, Any]], dict[str, Any]] | None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._presence = presence
        self._report = report
        self._state_with = state_with
        self._versions: dict[str, int] = {}
        kinds = [
            Kind("device_health", "health", rules.health_period, self._health),
            Kind("agent", "detail", rules.detail_period, self._detail),
            Kind("reported_devices", "devices", rules.detail_period, self._devices),
        ]
        if state_with is not None:
            kinds.append(Kind("agent_metrics", "state", rules.health_period, self._figures))
        if rules.hourly:
            kinds += [
                Kind("readings_hourly", "hourly", SUMS_PERIOD, self._sums("readings_hourly", HOURS_BACK)),
                Kind("readings_daily", "daily", SUMS_PERIOD, self._sums("readings_daily", DAYS_BACK)),
            ]
        self._rounds = {kind: self._rounds_of(kind) for kind in kinds if client.offers(kind.route)}
        self._off: set[str] = set()
        """Routes that the server does not have."""

    @property
    def channels(self) -> frozenset[str]:
        """Channels that are told here."""
        return frozenset(kind.channel for kind in self._rounds)

    def recall(self, page: Any) -> None:
        """What `document` gave."""
        self._versions = {str(key): value for key, value in page.items() if isinstance(value, int)}

    def document(self) -> dict[str, Any]:
        """What must be known after a restart: the target versions that were told."""
        return dict(self._versions)

    def works(self) -> Iterable[tuple[str, Awaitable[None]]]:
        """Endless works by name; each ends with AuthFailed, RateLimited or NotConnected."""
        self._off.clear()
        for kind, rounds in self._rounds.items():
            yield kind.channel, rounds.run(lambda visit, kind=kind: self._visit(kind, visit))  # type: ignore[misc]

    def visit_all(self, agents: Iterable[str]) -> None:
        """Make it so that exactly these are read."""
        keys = list(agents)
        for kind, rounds in self._rounds.items():
            rounds.visit_all(() if kind.route in self._off else keys)

    def hasten(self, agent: str, channel: str) -> None:
        """Read a channel of an agent soon."""
        for kind, rounds in self._rounds.items():
            if kind.channel == channel:
                rounds.hasten(agent)

    def _rounds_of(self, kind: Kind) -> Rounds:
        bucket = self._client.profile.routes[kind.route].bucket
        name = f"{self._report.source} {kind.channel}"
        priority = Priority.STATE if kind.channel in ("health", "state") else Priority.ACTIVITY
        return Rounds(name, kind.period, self._client.limits.budgets[bucket], priority, self._report.clock)

    async def _visit(self, kind: Kind, visit: Visit) -> None:
        try:
            payload = await kind.read(visit)
        except (AuthFailed, RateLimited):
            raise
        except NotOffered as error:
            if kind.route not in self._off:
                self._off.add(kind.route)
                log.info("Source %s: %s is not read: %s", self._report.source, kind.channel, error)
            self._report.down(visit.key, kind.channel, error)
        except NotConnected as error:
            if not isinstance(error, Unwell) and self._client.wire.unanswered >= FAILURES:
                raise
            self._report.down(visit.key, kind.channel, error)
        except SourceError as error:
            self._report.down(visit.key, kind.channel, error)
        else:
            self._report.observe(visit.key, kind.channel, payload, visit.turn.at, max(kind.period, visit.interval))

    # -- each kind

    async def _health(self, visit: Visit) -> list[dict[str, Any]]:
        reply = await self._client.read("device_health", {"agent": visit.key}, turn=visit.turn)
        rows = [health_row(row) for row in reply.rows()[:ROWS]]
        now = self._report.clock.now()
        self._report.tell(
            self._presence.see_endpoint(visit.key, row["name"], row["connected"], now, row.get("last_error", ""))
            for row in rows
            if "name" in row and "connected" in row and row.get("enabled", True)
        )
        if self._state_with is not None:
            state = self._state_with(visit.key, {"endpoints": counted(rows)})
            self._report.observe(visit.key, "state", state, visit.turn.at, self._rules.health_period)
        return rows

    async def _detail(self, visit: Visit) -> dict[str, Any]:
        reply = await self._client.read("agent", {"agent": visit.key}, Priority.ACTIVITY, visit.turn)
        detail = detail_row(reply.find("device"), reply.find("target"), reply.find("current"))
        version = detail.get("target_version")
        if version is not None:
            before = self._versions.get(visit.key)
            self._versions[visit.key] = version
            if before not in (None, version):
                self._report.tell([self._retargeted(visit.key, before, version)])
        return detail

    def _retargeted(self, agent: str, before: int | None, version: int) -> Event:
        source, words = self._report.source, f"Target state is now version {version}"
        data = {"version": version, "before": before}
        identifier = f"{source}:{agent}:target_state_changed:{version}"
        return Event(identifier, "target_state_changed", self._report.clock.now(), words, 300, source, agent, data)

    async def _devices(self, visit: Visit) -> list[dict[str, Any]]:
        reply = await self._client.read("reported_devices", {"agent": visit.key}, Priority.ACTIVITY, visit.turn)
        return [device_row(row) for row in reply.rows()[:ROWS]]

    async def _figures(self, visit: Visit) -> dict[str, Any]:
        reply = await self._client.read("agent_metrics", {"agent": visit.key, "limit": 1}, turn=visit.turn)
        assert self._state_with is not None  # noqa: S101
        return self._state_with(visit.key, figures(next(iter(reply.rows()), {})))

    def _sums(self, route: str, back: int) -> Callable[[Visit], Awaitable[list[dict[str, Any]]]]:
        async def read(visit: Visit) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            turn = visit.turn
            for metric in self._rules.hourly:
                now = self._client.now()
                values = {"agent": visit.key, "metric": metric, "start": iso(now - back), "end": iso(now)}
                reply = await self._client.read(route, values, Priority.ACTIVITY, turn)
                turn = None  # type: ignore[assignment]  # the next takes a turn of its own
                found += newest(row for each in reply.rows() if (row := sums_row(each, metric)) is not None)
            return found

        return read


def counted(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many endpoints there are, as in the state by MQTT."""
    listed = list(rows)
    enabled = [row for row in listed if row.get("enabled", True)]
    lost = sum(row.get("connected") is False for row in enabled)
    return {"total": len(listed), "enabled": len(enabled), "lost": lost}


def newest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest complete row of each device; two of one time are two devices, or halves of one (facts 1.5)."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row.get("device_uuid") or row.get("device") or ""
        known = found.get(key)
        is_newer = known is None or row["time"] > known["time"]
        is_fuller = known is not None and row["time"] == known["time"]
        if is_newer or (is_fuller and row.get("samples", 0) > (known or {}).get("samples", 0)):
            found[key] = row
    return list(found.values())
