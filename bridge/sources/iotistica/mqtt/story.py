"""Story: what happened at an agent, as events with ids that stay. Pure.

The id is made of what happened and of the vendor's own time of it: an agent tells its last update again to everybody
who subscribes (retained), and an anomaly may be delivered twice.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import ProtocolError
from bridge.model.event import Event
from bridge.sources.iotistica.mqtt.state import number

if TYPE_CHECKING:
    from collections.abc import Iterator

SEVERITIES: Final = {"info": 300, "warning": 500, "critical": 700}
_UUIDS: Final = re.compile(r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_)+(?:system_)?", re.IGNORECASE)
"""What stands before the name of a metric in an anomaly (facts 1.11)."""
UPDATES: Final = {
    "update_command_received": ("was told to update itself", 100),
    "update_scheduled": ("will update itself", 100),
    "update_started": ("updates itself", 300),
    "update_succeeded": ("has updated itself", 100),
    "update_failed": ("could not update itself", 500),
    "update_failed_verified": ("could not update itself: it runs as before", 500),
}


class Teller:
    """Events of one source."""

    def __init__(self, source: str) -> None:
        self._source = source

    def presence(self, agent: str, *, is_online: bool, since: datetime, reason: str) -> Event:
        """agent_online or agent_offline."""
        kind = "agent_online" if is_online else "agent_offline"
        message = "The agent is heard again" if is_online else f"The agent is gone: {reason}"
        identifier = f"{self._source}:{agent}:{kind}:{_stamp(since)}"
        return Event(identifier, kind, since, message, 100 if is_online else 700, self._source, agent)

    def endpoints(
        self, agent: str, before: list[dict[str, Any]], after: list[dict[str, Any]], now: datetime
    ) -> Iterator[Event]:
        """endpoint_lost and endpoint_back, of those that were known before."""
        known = {row["name"]: row["connected"] for row in before}
        for row in after:
            was, is_there = known.get(row["name"]), row["connected"]
            if was is None or is_there is None or was == is_there:
                continue
            kind = "endpoint_back" if is_there else "endpoint_lost"
            error = "" if is_there else row["last_error"] or ""
            message = f"The endpoint {row['name']} is {'connected again' if is_there else 'not connected'}"
            yield Event(
                f"{self._source}:{agent}:{kind}:{row['name']}:{row['last_poll'] or _stamp(now)}",
                kind,
                now,
                f"{message}: {error}" if error else message,
                100 if is_there else 500,
                self._source,
                agent,
                {"endpoint": row["name"], "protocol": row["protocol"], "error": error or None},
            )

    def anomaly(self, agent: str, message: Any) -> Event:
        """An anomaly that the agent has seen. Raises ProtocolError."""
        told = message if isinstance(message, dict) else {}
        at, metric, fingerprint = number(told.get("timestampMs")), told.get("metric"), told.get("fingerprint")
        if at is None or not isinstance(metric, str) or not isinstance(fingerprint, str):
            raise ProtocolError("an anomaly has no timestampMs, metric or fingerprint")
        severity = str(told.get("severity", "info"))
        name = _UUIDS.sub("", metric)[:200]
        device = str(told.get("deviceName") or "")[:200]
        reason = str(told.get("severityReason") or "")[:300]
        data = {
            "metric": name,
            "device": device,
            "severity": severity[:20],
            "observed": number(told.get("observedValue")),
            "score": number(told.get("anomalyScore")),
            "confidence": number(told.get("confidence")),
            "count": number(told.get("eventCount")),
            "fingerprint": fingerprint[:200],
        }
        sentence = f"{name} of {device} is unusual" if device else f"{name} is unusual"
        return Event(
            f"{self._source}:{agent}:anomaly:{fingerprint[:200]}:{int(at)}",
            "anomaly",
            _moment(at),
            f"{sentence}: {reason}" if reason else sentence,
            SEVERITIES.get(severity, 300),
            self._source,
            agent,
            data,
        )

    def update(self, agent: str, message: Any) -> Event:
        """How an update of the agent goes. Raises ProtocolError."""
        told = message if isinstance(message, dict) else {}
        kind, at = told.get("type"), number(told.get("timestamp"))
        if not isinstance(kind, str) or at is None:
            raise ProtocolError("an agent's status has no type or timestamp")
        words, severity = UPDATES.get(kind, (kind[:60], 300))
        version = told.get("target_version") or told.get("version")
        version = version[:60] if isinstance(version, str) else None
        error = told.get("error") or told.get("reason")
        error = error[:300] if isinstance(error, str) else None
        sentence = f"The agent {words}{f' to {version}' if version else ''}{f': {error}' if error else ''}"
        identifier = f"{self._source}:{agent}:{kind[:60]}:{int(at)}"
        data = {"type": kind[:60], "version": version, "error": error}
        return Event(identifier, f"agent_{kind[:60]}", _moment(at), sentence, severity, self._source, agent, data)


def _moment(milliseconds: float) -> datetime:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProtocolError(f"{milliseconds:g} is no time in milliseconds") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
