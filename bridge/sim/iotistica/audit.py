"""The log of audit events, for administrators. `data` may hold a whole configuration with its secrets, as theirs."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.sim.iotistica.answers import failed, iso, number
from bridge.sim.iotistica.call import Call

LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event."""

    number: int
    id: str
    kind: str
    aggregate: str
    """The agent's uuid."""
    when: datetime
    data: dict[str, Any]

    @property
    def _common(self) -> dict[str, Any]:
        return {"aggregate_type": "agent", "aggregate_id": self.aggregate, "data": self.data, "metadata": {}}

    def recent(self) -> dict[str, Any]:
        """As /events/recent has it: ids are strings (recorded)."""
        title = self.kind.replace(".", " ").replace("_", " ").title()
        return {
            "id": str(self.number), "event_id": self.id, "timestamp": iso(self.when), "type": self.kind,
            "category": self.kind.partition(".")[0], "title": title, "description": "Event occurred",
            **self._common, "source": "system",
        }  # fmt: skip

    def found(self) -> dict[str, Any]:
        """As /events/search has it: with the raw names."""
        return {
            "event_id": self.id, "event_type": self.kind, "event_version": 1, "timestamp": iso(self.when),
            **self._common, "correlation_id": self.id, "causation_id": None, "source": "system",
            "actor_type": None, "actor_id": None, "severity": None, "impact": None,
        }  # fmt: skip


class Audit:
    """The newest events."""

    def __init__(self) -> None:
        self._events: deque[AuditEvent] = deque(maxlen=LENGTH)
        self._last = 0

    def write(self, kind: str, agent: str, when: datetime, data: dict[str, Any]) -> AuditEvent:
        """One more event."""
        self._last += 1
        event = AuditEvent(self._last, str(uuid.uuid4()), kind, agent, when, data)
        self._events.append(event)
        return event

    def last_of(self, agent: str, kinds: Iterable[str]) -> AuditEvent | None:
        """The newest of some kinds about an agent."""
        words = tuple(kinds)
        return next(
            (event for event in reversed(self._events) if event.aggregate == agent and event.kind in words), None
        )

    def recent(self, call: Call) -> Any:
        """GET /events/recent, newest first."""
        limit = min(number(call.query.get("limit"), 50), 500)
        found = [event.recent() for event in list(reversed(self._events))[:limit]]
        return {"success": True, "count": len(found), "events": found}

    def search(self, call: Call) -> Any:
        """GET /events/search, newest first."""
        query = call.query
        kinds = [word for word in query.get("eventTypes", "").split(",") if word]
        offset, limit = number(query.get("offset"), 0), min(number(query.get("limit"), 100), 1000)
        found = [
            event.found()
            for event in reversed(self._events)
            if query.get("deviceUuid") in (None, "", event.aggregate)
            and (not kinds or event.kind in kinds)
            and (not query.get("dateFrom") or (iso(event.when) or "") >= query["dateFrom"])
            and (not query.get("dateTo") or (iso(event.when) or "") <= query["dateTo"])
        ][offset : offset + limit]
        return {"success": True, "count": len(found), "events": found, "criteria": {**query, "limit": limit}}

    def of_device(self, call: Call) -> Any:
        """GET /events/device/:uuid, with the only true cursor there is. Raises Refused."""
        since = call.query.get("sinceEventId")
        events = [event for event in self._events if event.aggregate == call.path["uuid"]]
        if since:
            places = [index for index, event in enumerate(events) if since in (event.id, str(event.number))]
            if not places:
                raise failed(400, "Unknown event")
            events = events[places[0] + 1 :]
        rows = [
            {
                key: value
                for key, value in event.recent().items()
                if key not in ("aggregate_type", "aggregate_id", "source")
            }
            for event in events[: min(number(call.query.get("limit"), 100), 1000)]
        ]
        return {"success": True, "count": len(rows), "deviceUuid": call.path["uuid"], "events": rows}
