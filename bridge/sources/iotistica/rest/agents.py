"""Agents: the list, page by page; who appeared, who has gone, who is online."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.rows import agent_row, figures, text, uuid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.sources.iotistica.presence import Presence
    from bridge.sources.iotistica.rest.client import RestClient
    from bridge.sources.iotistica.rest.report import Report
    from bridge.sources.iotistica.roster import Roster

PAGE: Final = 100
PAGES: Final = 50
"""Agents of a page, and pages that are read."""

FLEETS: Final = 1000
"""Fleets whose names are known."""

MISSES: Final = 2
"""Lists without an agent after which it has gone: one that is read while it changes may skip one."""


class AgentList:
    """The list as it was read last. `has_state`: the channel `state` is told from here, for there is no MQTT."""

    def __init__(
        self, client: RestClient, roster: Roster, presence: Presence, report: Report, *, has_state: bool
    ) -> None:
        self._client = client
        self._roster = roster
        self._presence = presence
        self._report = report
        self._has_state = has_state
        self._listed: dict[str, int] = {}
        """How many lists in a row each was not in."""
        self._states: dict[str, dict[str, Any]] = {}
        self.fleets: dict[str, str] = {}
        """Names of fleets by UUID."""

    @property
    def agents(self) -> list[str]:
        """UUIDs of those that are listed and read."""
        return [agent for agent in self._listed if self._roster.is_read(agent)]

    async def read(self, period: float) -> None:
        """Read it, and tell what it says. Raises SourceError."""
        found: dict[str, Mapping[str, Any]] = {}
        asked = None
        for page in range(1, PAGES + 1):
            reply = await self._client.read("agents", {"page": page, "limit": PAGE}, Priority.INVENTORY)
            asked, rows = reply.asked if asked is None else asked, reply.rows()
            new = {uuid: row for row in rows if (uuid := uuid_of(row)) is not None and uuid not in found}
            found.update(new)
            pages = reply.find("pages")
            is_last = len(rows) < PAGE if not isinstance(pages, int) else page >= pages
            if is_last or not new:
                break
        for agent, row in found.items():
            self._see(agent, row, asked, period)
        self._miss(found)

    def _see(self, agent: str, row: Mapping[str, Any], asked: float | None, period: float) -> None:
        told = agent_row(row)
        fleet = told.get("fleet_uuid")
        if fleet in self.fleets:
            told["fleet"] = self.fleets[fleet]
        name = told.get("name", "")
        facts = {"name": name, "agent_type": told.get("type", ""), "fleet": told.get("fleet", "")}
        self._listed[agent] = 0
        if not self._roster.meet(agent, self._report.publish, **facts):
            return
        if (online := told.get("online")) is not None:
            now = self._report.clock.now()
            self._report.tell([self._presence.see_agent(agent, online, now, name)])
        self._report.observe(agent, "agent", told, asked, period)
        if self._has_state:
            news = {**figures(row), "is_online": online, "reported_at": told.get("reported_at")}
            self._report.observe(agent, "state", self.state_with(agent, news), asked, period)
            link = {"online": online, "last_heard": told.get("last_seen")}
            self._report.observe(agent, "link", link, asked, period)

    def _miss(self, found: Mapping[str, Any]) -> None:
        for agent in [agent for agent in self._listed if agent not in found]:
            self._listed[agent] += 1
            if self._listed[agent] >= MISSES:
                del self._listed[agent]
                self._states.pop(agent, None)
                self._roster.leave(agent, self._report.publish)

    def state_with(self, agent: str, news: Mapping[str, Any]) -> dict[str, Any]:
        """The channel `state` with what is new of it: several answers tell of it, as deltas do by MQTT."""
        known = {name: value for name, value in news.items() if value is not None}
        self._states[agent] = {**self._states.get(agent, {}), **known}
        return self._states[agent]

    async def read_fleets(self) -> None:
        """Names of fleets, for the agents' rows."""
        reply = await self._client.read("fleets", {}, Priority.INVENTORY)
        pairs = [(_first(row, "fleet_uuid", "uuid", "id"), _first(row, "fleet_name", "name")) for row in reply.rows()]
        self.fleets = {uuid: name for uuid, name in pairs[:FLEETS] if uuid and name}


def _first(row: Mapping[str, Any], *names: str) -> str | None:
    return next((found for name in names if (found := text(row.get(name))) is not None), None)
