"""Anomalies: events become incidents, the first critical one fires an alert. Only a person resolves (facts 1.9)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bridge.sim.iotistica.answers import failed, iso, number
from bridge.sim.iotistica.call import Call

ACTIVE_AFTER = 5
"""Events after which an incident is active (recorded: active at 6)."""
SILENCE_S = 3600
"""The same anomaly after an hour of silence opens a second incident: the correlation lives in a cache."""
MAX_INCIDENTS, MAX_EVENTS = 5000, 5000
SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class AnomalyEvent:
    """What an agent's detector said."""

    agent: str
    endpoint: str
    device_name: str
    device_type: str
    metric: str
    at: float
    """Seconds since the epoch."""
    value: float
    score: float
    confidence: float
    severity: str
    fingerprint: str


@dataclass(slots=True)
class Incident:
    """Events of one fingerprint."""

    id: str
    first: AnomalyEvent
    last: AnomalyEvent
    created: datetime
    updated: datetime
    count: int = 1
    score: float = 0.0
    status: str = "open"
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    notes: str | None = None

    def as_json(self, resolving: bool = False) -> dict[str, Any]:
        """As the list has it; the answer to resolving has no state and its milliseconds as strings (recorded)."""
        stamps = [int(self.first.at * 1000), int(self.last.at * 1000)]
        row: dict[str, Any] = {
            "incident_id": self.id, "fingerprint": self.first.fingerprint, "device_name": self.first.device_name,
            "agent_uuid": self.first.endpoint,  # the vendor's own misnomer
            "device_type": self.first.device_type, "device_state": "running", "metric": self.first.metric,
            "severity": self.last.severity, "affected_agents": [self.first.agent],
            "first_seen": stamps[0], "last_seen": stamps[1], "max_anomaly_score": self.score,
            "max_confidence": self.last.confidence, "event_count": self.count, "status": self.status,
            "acknowledged_at": iso(self.acknowledged_at), "acknowledged_by": self.acknowledged_by,
            "resolution_notes": self.notes, "created_at": iso(self.created), "updated_at": iso(self.updated),
        }  # fmt: skip
        if resolving:
            del row["device_state"]
            row["first_seen"], row["last_seen"] = map(str, stamps)
        return row


@dataclass(slots=True)
class Incidents:
    """All of them, with the alerts that were fired."""

    incidents: list[Incident] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    events: list[AnomalyEvent] = field(default_factory=list)

    def take(self, event: AnomalyEvent, now: datetime) -> Incident:
        """An event came in. Gives its incident."""
        self.events = [*self.events[-MAX_EVENTS + 1 :], event]
        known = next((one for one in reversed(self.incidents) if self._is_of(one, event)), None)
        if known is None:
            known = Incident(str(uuid.uuid4()), event, event, now, now, score=event.score)
            self.incidents = [*self.incidents[-MAX_INCIDENTS + 1 :], known]
            if event.severity == "critical":
                self._fire(known, now)
        else:
            worst = max(known.last.severity, event.severity, key=SEVERITIES.index)
            known.last, known.updated, known.count = replace(event, severity=worst), now, known.count + 1
            known.score = max(known.score, event.score)
        if known.count >= ACTIVE_AFTER and known.status == "open":
            known.status = "active"
        return known

    def get(self, incident_id: str) -> Incident:
        """One of them. Raises Refused."""
        for incident in self.incidents:
            if incident.id == incident_id:
                return incident
        raise failed(404, "Incident not found")

    # -- routes

    def list(self, call: Call) -> Any:
        """GET /anomaly-incidents: there is no way to ask for what changed."""
        query = call.query
        found = [
            incident.as_json()
            for incident in sorted(self.incidents, key=lambda one: -one.first.at)
            if query.get("status") in (None, "", incident.status)
            and query.get("severity") in (None, "", incident.last.severity)
            and query.get("metric") in (None, "", incident.first.metric)
            and query.get("deviceUuid") in (None, "", incident.first.endpoint)
            and query.get("deviceName") in (None, "", incident.first.device_name)
            and incident.first.at * 1000 >= number(query.get("startTime"), 0)
            and incident.last.at * 1000 <= number(query.get("endTime"), 1 << 62)
        ]
        return {"success": True, "incidents": _page(call, found, 50), **_rest(call, found, 50)}

    def one(self, call: Call) -> Any:
        """GET /anomaly-incidents/:id. Raises Refused."""
        incident = self.get(call.path["id"])
        events = [
            {
                "agent_uuid": event.agent, "device_name": event.device_name, "metric": event.metric,
                "timestamp_ms": int(event.at * 1000), "observed_value": event.value, "anomaly_score": event.score,
                "confidence": event.confidence, "severity": event.severity,
            }
            for event in reversed(self.events)
            if event.fingerprint == incident.first.fingerprint
        ]  # fmt: skip
        alerts = [alert for alert in self.alerts if alert["incident_id"] == incident.id]
        return {"success": True, "incident": incident.as_json(), "events": events, "alerts": alerts}

    def stats(self, call: Call) -> Any:
        """GET /anomaly-incidents/stats, of the last hours."""
        since = call.now - number(call.query.get("hours"), 24) * 3600
        recent = [incident for incident in self.incidents if incident.first.at >= since]
        return {
            "success": True,
            "stats": {
                "total": len(recent),
                "byStatus": {word: sum(i.status == word for i in recent) for word in ("open", "active", "resolved")},
                "bySeverity": {word: sum(i.last.severity == word for i in recent) for word in SEVERITIES},
                "affectedDevices": len({i.first.device_name for i in recent}),
                "affectedEndpoints": len({i.first.endpoint for i in recent}),
                "topMetrics": [], "topDevices": [],
            },
        }  # fmt: skip

    def resolve(self, call: Call, now: datetime) -> Any:
        """PATCH .../resolve: also of one that is resolved. Raises Refused."""
        body = call.json()
        if not body.get("resolvedBy"):
            raise failed(400, "resolvedBy is required")
        incident = self.get(call.path["id"])
        incident.status, incident.updated, incident.acknowledged_at = "resolved", now, now
        incident.acknowledged_by, incident.notes = str(body["resolvedBy"]), body.get("notes") or None
        return {"success": True, "incident": incident.as_json(resolving=True)}

    def fired(self, call: Call) -> Any:
        """GET /anomaly-alerts, newest first; immutable."""
        query = call.query
        since, until = number(query.get("startTime"), 0), number(query.get("endTime"), 1 << 62)
        found = [
            {key: value for key, value in alert.items() if key != "at_ms"}
            for alert in reversed(self.alerts)
            if since <= alert["at_ms"] <= until and query.get("severity") in (None, "", alert["severity"])
        ]
        return {"success": True, "alerts": _page(call, found, 100), **_rest(call, found, 100)}

    def alert(self, call: Call) -> Any:
        """GET /anomaly-alerts/:id. Raises Refused."""
        for alert in self.alerts:
            if alert["alert_id"] == call.path["id"]:
                return {"success": True, "alert": {key: value for key, value in alert.items() if key != "at_ms"}}
        raise failed(404, "Alert not found")

    def _is_of(self, incident: Incident, event: AnomalyEvent) -> bool:
        return (
            incident.first.fingerprint == event.fingerprint
            and incident.status != "resolved"
            and event.at - incident.last.at < SILENCE_S
        )

    def _fire(self, incident: Incident, now: datetime) -> None:
        event = incident.first
        alert = {
            "alert_id": str(uuid.uuid4()), "incident_id": incident.id, "severity": event.severity,
            "device_name": event.device_name, "agent_uuid": event.endpoint, "metric": event.metric,
            "affected_agents": [event.device_name],  # names here, not agents (recorded)
            "max_anomaly_score": event.score,
            "message": f"Anomaly detected: {event.metric} in state running on 1 device(s). Score: {event.score:.3f}",
            "channels": {}, "created_at": iso(now), "at_ms": int(now.timestamp() * 1000),
        }  # fmt: skip
        self.alerts = [*self.alerts[-MAX_INCIDENTS + 1 :], alert]


def _page(call: Call, found: list[Any], default: int) -> list[Any]:
    offset, limit = number(call.query.get("offset"), 0), min(number(call.query.get("limit"), default), 500)
    return found[offset : offset + limit]


def _rest(call: Call, found: list[Any], default: int) -> dict[str, Any]:
    offset, limit = number(call.query.get("offset"), 0), min(number(call.query.get("limit"), default), 500)
    return {"total": len(found), "hasMore": offset + limit < len(found)}
