"""Presence: who is there (agents, their endpoints) by the cloud's word, where MQTT has none. Pure.

MQTT tells at once, REST late: its flag falls five to six minutes after the agent has gone, and rises with its next
report (facts 1.6). So of an agent that MQTT hears REST tells nothing, until MQTT is lost; and what MQTT told of it is
known here, so that there is one event of each change, whoever saw it. The id has the number of the change, which is
kept over a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bridge.model.event import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MOST: Final = 20_000
"""Agents and endpoints that are remembered; beyond it the one that was met first goes."""

SAYS: Final[Mapping[str, bool]] = {
    "agent_online": True, "agent_offline": False, "endpoint_back": True, "endpoint_lost": False,
}  # fmt: skip
"""Kinds of events, and whether who they are about is there."""


@dataclass(slots=True)
class _Known:
    is_there: bool
    changes: int = 0


class Presence:
    """What is known of agents and endpoints of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: dict[str, _Known] = {}
        self._heard: set[str] = set()

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        for key, row in page.items():
            if isinstance(row, list) and len(row) == 2 and isinstance(row[0], bool) and isinstance(row[1], int):
                self._known.setdefault(key, _Known(row[0], row[1]))

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {key: [known.is_there, known.changes] for key, known in self._known.items()}

    # -- what MQTT says

    def hear(self, agent: str) -> None:
        """MQTT hears an agent: from now on it speaks for it."""
        if len(self._heard) < MOST:
            self._heard.add(agent)

    def note(self, event: Event) -> None:
        """MQTT has told of somebody."""
        is_there = SAYS.get(event.kind)
        if is_there is not None:
            endpoint = event.data.get("endpoint")
            self._change(f"{event.machine}/{endpoint}" if endpoint else event.machine, is_there)

    def release(self) -> None:
        """MQTT is lost: it hears nobody."""
        self._heard.clear()

    # -- what REST says

    def see_agent(self, agent: str, is_there: bool, now: datetime, name: str = "") -> Event | None:
        """REST says whether an agent is online. The event, where that is news."""
        number = None if agent in self._heard else self._change(agent, is_there)
        if number is None:
            return None
        kind, word = ("agent_online", "online") if is_there else ("agent_offline", "offline")
        words = f"Agent {name or agent} is {word}"
        severity = 100 if is_there else 700
        return Event(f"{self._source}:{agent}:{kind}:{number}", kind, now, words, severity, self._source, agent)

    def see_endpoint(self, agent: str, endpoint: str, is_there: bool, now: datetime, reason: str = "") -> Event | None:
        """REST says whether an agent reaches an endpoint. The event, where that is news."""
        number = None if agent in self._heard else self._change(f"{agent}/{endpoint}", is_there)
        if number is None:
            return None
        kind, words = "endpoint_back", f"The endpoint {endpoint} is connected again"
        if not is_there:
            kind, words = "endpoint_lost", f"The endpoint {endpoint} is not connected{': ' if reason else ''}{reason}"
        identifier = f"{self._source}:{agent}:{kind}:{endpoint}:{number}"
        severity = 100 if is_there else 500
        return Event(identifier, kind, now, words, severity, self._source, agent, {"endpoint": endpoint})

    def _change(self, key: str, is_there: bool) -> int | None:
        """The number of the change; None where there is none."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = _Known(is_there)
            return None
        if known.is_there == is_there:
            return None
        known.is_there, known.changes = is_there, known.changes + 1
        return known.changes
