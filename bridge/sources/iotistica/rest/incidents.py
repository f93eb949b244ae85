"""Incidents and alerts: what is open, and an event for each thing that happens to it. Pure.

An incident changes after it was listed and nothing tells of changes since a moment, so all open and active ones are
read again each time; one that has left the list is asked for by itself (facts 1.9). What is listed is the truth.

Ids of events are made of what they tell, so that the same reading gives the same event, also after a crash between
telling and keeping.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.model.event import Event
from bridge.sources.iotistica.rest.rows import iso, milliseconds, number, text, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST: Final = 5000
"""Open incidents, and alerts of the overlap, that are known; beyond it the oldest go."""

OVERLAP: Final = 5 * 60_000
"""Milliseconds by which alerts are read again: what was written late is not missed."""

RESOLVED: Final = "resolved"
LIVE: Final = ("open", "active")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
SEVERITIES: Final[Mapping[str, int]] = {"info": 300, "warning": 500, "critical": 900}


class Incident(NamedTuple):
    """One incident as it was read last; times in ms."""

    id: str
    agent: str
    status: str
    severity: str
    device: str
    metric: str
    first_seen: int
    last_seen: int
    events: int
    score: float | None = None
    by: str = ""
    notes: str = ""

    @property
    def is_live(self) -> bool:
        """It goes on."""
        return self.status in LIVE

    @property
    def step(self) -> tuple[str, str, int]:
        """What makes an update worth an event: status, severity, and each doubling of what it counts."""
        return self.status, self.severity, self.events.bit_length()

    def shown(self) -> dict[str, Any]:
        """As `last` of the channel."""
        told = {
            "id": self.id, "status": self.status, "severity": self.severity, "device": self.device,
            "metric": self.metric, "first_seen": iso(self.first_seen), "last_seen": iso(self.last_seen),
            "events": self.events, "score": self.score, "acknowledged_by": self.by, "notes": self.notes,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value not in (None, "")}


def incident_of(row: Mapping[str, Any]) -> Incident | None:
    """An incident from a row; None where it has no id. `agent_uuid` is misnamed: the agent is the first affected."""
    identifier = text(row.get("incident_id")) or text(row.get("id"))
    first = milliseconds(row.get("first_seen"))
    if identifier is None or first is None:
        return None
    affected = row.get("affected_agents")
    agents = [each for each in affected if isinstance(each, str)] if isinstance(affected, list) else []
    return Incident(
        identifier,
        (agents[0] if agents else text(row.get("agent_uuid")) or "").lower(),
        (text(row.get("status")) or "open").lower(),
        (text(row.get("severity")) or "info").lower(),
        text(row.get("device_name")) or "",
        text(row.get("metric")) or "",
        first,
        milliseconds(row.get("last_seen")) or first,
        whole(row.get("event_count")) or 0,
        number(row.get("max_anomaly_score")),
        text(row.get("acknowledged_by")) or "",
        text(row.get("resolution_notes")) or "",
    )


class Incidents:
    """The open ones of a source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: dict[str, Incident] = {}
        self._last: dict[str, Incident] = {}
        """Of each agent the newest that was ever read."""

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave; what is none is passed over."""
        for name in ("last", "known"):
            for row in page.get(name) or ():
                try:
                    incident = Incident(*row)
                except TypeError:
                    continue
                if name == "known":
                    self._known[incident.id] = incident
                self._note(incident)

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {
            "known": [list(incident) for incident in self._known.values()],
            "last": [list(incident) for incident in self._last.values()],
        }

    def read(self, rows: Iterable[Mapping[str, Any]], now: datetime) -> tuple[list[Event], list[str]]:
        """All that is open and active: its events, and the ids of what is no longer listed."""
        found = {incident.id: incident for row in rows if (incident := incident_of(row)) is not None}
        events = [event for incident in found.values() for event in self.see(incident, now)]
        return events, [identifier for identifier in self._known if identifier not in found]

    def see(self, incident: Incident, now: datetime) -> list[Event]:
        """One incident as it is now."""
        before = self._known.get(incident.id)
        self._note(incident)
        if incident.is_live:
            self._known[incident.id] = incident
            self._forget()
            if before is None:
                return [self._event("opened", incident, _stamp(incident.first_seen), "")]
            if before.step != incident.step:
                mark = f":{incident.status}:{incident.severity}:{incident.events.bit_length()}"
                return [self._event("updated", incident, _stamp(incident.last_seen), mark)]
            return []
        return [] if before is None else [self._over(incident, now)]

    def agent_of(self, identifier: str) -> str:
        """Whose incident it is; "" where that is not known."""
        known = self._known.get(identifier)
        return "" if known is None else known.agent

    def gone(self, identifier: str, now: datetime) -> list[Event]:
        """It is not even there by its id any more."""
        before = self._known.get(identifier)
        return [] if before is None else [self._over(before._replace(status="deleted"), now)]

    def of(self, agent: str) -> dict[str, Any]:
        """The channel `incidents` of an agent."""
        own = [incident for incident in self._known.values() if incident.agent == agent]
        counts = {name: sum(one.status == name for one in own) for name in LIVE}
        counts |= {name: sum(one.severity == name for one in own) for name in SEVERITIES}
        last = self._last.get(agent)
        return counts if last is None else {**counts, "last": last.shown()}

    def _over(self, incident: Incident, now: datetime) -> Event:
        del self._known[incident.id]
        return self._event("resolved", incident, now, f":{incident.first_seen}")

    def _note(self, incident: Incident) -> None:
        newest = self._last.get(incident.agent)
        if newest is None or newest.id == incident.id or incident.first_seen >= newest.first_seen:
            self._last[incident.agent] = incident

    def _forget(self) -> None:
        while len(self._known) > MOST:
            del self._known[min(self._known.values(), key=lambda one: one.first_seen).id]

    def _event(self, what: str, incident: Incident, at: datetime, mark: str) -> Event:
        of = " ".join(word for word in (incident.device, incident.metric) if word) or incident.id
        words = {
            "opened": f"Anomaly at {of}",
            "updated": f"Anomaly at {of}: {incident.status}, {incident.events} times",
            "resolved": f"Anomaly at {of} is {incident.status}{' by ' if incident.by else ''}{incident.by}",
        }[what]
        severity = 100 if what == "resolved" else SEVERITIES.get(incident.severity, 300)
        data = {
            "incident": incident.id, "device": incident.device, "metric": incident.metric,
            "status": incident.status, "severity": incident.severity, "score": incident.score,
            "count": incident.events,
        }  # fmt: skip
        identifier = f"{self._source}:incident:{incident.id}:{what}{mark}"
        return Event(identifier, f"incident_{what}", at, words, severity, self._source, incident.agent, data)


class Alerts:
    """Alerts that were fired: they never change, so those since a watermark are enough."""

    def __init__(self, source: str, agent_of: Callable[[str], str] = lambda incident: "") -> None:
        self._source = source
        self._agent_of = agent_of
        self._watermark: int | None = None
        self._seen: dict[str, int] = {}

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        self._watermark = whole(page.get("watermark"))
        seen = page.get("seen")
        if isinstance(seen, dict):
            self._seen = {str(key): at for key, value in seen.items() if (at := whole(value)) is not None}

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {"watermark": self._watermark, "seen": self._seen}

    def since(self, now: int) -> int:
        """From when on alerts are to be asked for: ms. What was fired before we first listened is not news."""
        if self._watermark is None:
            self._watermark = now
        return self._watermark - OVERLAP

    def read(self, rows: Iterable[Mapping[str, Any]]) -> list[Event]:
        """Those that are new, oldest first."""
        begun, news = self._watermark or 0, []
        for row in rows:
            identifier, at = text(row.get("alert_id")) or text(row.get("id")), milliseconds(row.get("created_at"))
            if identifier is None or at is None or identifier in self._seen:
                continue
            self._seen[identifier] = at
            if not self._is_told_before(at, begun):
                news.append((at, self._event(identifier, row, at)))
        self._watermark = max([begun, *(at for at, _ in news)])
        self._forget()
        return [event for _, event in sorted(news, key=lambda pair: pair[0])]

    def _whose(self, row: Mapping[str, Any]) -> str:
        """The agent: of its incident, or the one it names; some name the device there (recorded)."""
        known = self._agent_of(text(row.get("incident_id")) or "")
        affected = row.get("affected_agents")
        named = affected[0] if isinstance(affected, list) and affected else None
        return known or (named.lower() if isinstance(named, str) and _UUID.fullmatch(named) else "")

    def _is_told_before(self, at: int, begun: int) -> bool:
        return at < begun - OVERLAP

    def _forget(self) -> None:
        oldest = (self._watermark or 0) - 2 * OVERLAP
        self._seen = {key: at for key, at in self._seen.items() if at >= oldest}
        for key in sorted(self._seen, key=lambda one: self._seen[one])[: max(0, len(self._seen) - MOST)]:
            del self._seen[key]

    def _event(self, identifier: str, row: Mapping[str, Any], at: int) -> Event:
        severity = (text(row.get("severity")) or "info").lower()
        device, metric = text(row.get("device_name")) or "", text(row.get("metric")) or ""
        words = text(row.get("message")) or f"Alert at {device} {metric}"
        data = {
            "alert": identifier, "incident": text(row.get("incident_id")), "device": device, "metric": metric,
            "severity": severity, "score": number(row.get("max_anomaly_score")),
        }  # fmt: skip
        return Event(
            f"{self._source}:alert:{identifier}", "alert_fired", _stamp(at), words, SEVERITIES.get(severity, 300),
            self._source, self._whose(row), data,
        )  # fmt: skip


def _stamp(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
