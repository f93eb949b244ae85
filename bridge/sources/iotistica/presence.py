"""Presence: who is there (agents, their endpoints), by whoever tells it, and the one event of each change. Pure.

MQTT tells at once, REST late: its flag falls five to six minutes after the agent has gone, and rises with its next
report (facts 1.6). So both ask here, and there is one event whoever saw it: its id has the number of the change, which
is kept over a restart. A word of REST against MQTT's counts only once MQTT's is older than REST is late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bridge.model.event import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

LATE: Final = timedelta(minutes=7)
"""What REST says may be so old."""

MOST: Final = 20_000
"""Agents and endpoints that are remembered; beyond it the one that was met first goes."""


@dataclass(slots=True)
class _Known:
    is_there: bool
    changes: int = 0
    told: datetime | None = None
    """When MQTT said so; None where only REST did."""


class Presence:
    """What is known of agents and endpoints of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: dict[str, _Known] = {}

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        for key, row in page.items():
            if isinstance(row, list) and len(row) == 2 and isinstance(row[0], bool) and isinstance(row[1], int):
                self._known.setdefault(key, _Known(row[0], row[1]))

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {key: [known.is_there, known.changes] for key, known in self._known.items()}

    def is_there(self, agent: str) -> bool | None:
        """Whether an agent is there; None where nobody has said."""
        known = self._known.get(agent)
        return None if known is None else known.is_there

    def see_agent(self, agent: str, is_there: bool, now: datetime, *, at_once: bool, name: str = "") -> Event | None:
        """Somebody says whether an agent is online; `at_once` by MQTT. The event, where that is news."""
        number = self._change(agent, is_there, now, at_once)
        if number is None:
            return None
        kind, word = ("agent_online", "online") if is_there else ("agent_offline", "offline")
        words = f"Agent {name or agent} is {word}"
        severity = 100 if is_there else 700
        return Event(f"{self._source}:{agent}:{kind}:{number}", kind, now, words, severity, self._source, agent)

    def see_endpoint(
        self, agent: str, endpoint: str, is_there: bool, now: datetime, *, at_once: bool, reason: str = ""
    ) -> Event | None:
        """Somebody says whether an agent reaches an endpoint. The event, where that is news."""
        number = self._change(f"{agent}/{endpoint}", is_there, now, at_once)
        if number is None:
            return None
        kind, words = "endpoint_connected", f"Endpoint {endpoint} is connected"
        if not is_there:
            kind, words = "endpoint_lost", f"Endpoint {endpoint} is lost{': ' if reason else ''}{reason}"
        identifier = f"{self._source}:{agent}:{kind}:{endpoint}:{number}"
        severity = 100 if is_there else 500
        return Event(identifier, kind, now, words, severity, self._source, agent, {"endpoint": endpoint})

    def _change(self, key: str, is_there: bool, now: datetime, at_once: bool) -> int | None:
        """The number of the change; None where there is none."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = _Known(is_there, 0, now if at_once else None)
            return None
        if at_once:
            known.told = now
        elif known.told is not None and now - known.told < LATE:
            return None
        if known.is_there == is_there:
            return None
        known.is_there, known.changes = is_there, known.changes + 1
        return known.changes
